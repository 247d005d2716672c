"""Reads a source message into an event: plain JSON, CloudEvents 1.0 structured, or CloudEvents binary.

Pure. The data's bytes are taken out as they are and never written anew, so that key order and the spelling of numbers
survive. What cannot be read raises Unreadable with the reason.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from delivery.errors import Unreadable
from delivery.sources import SourceMessage
from partners.errors import InvalidInput
from partners.identifiers import check_event_id

_TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_TYPE_MAX = 200
_SOURCE_MAX = 500
_CLOUDEVENTS_JSON = "application/cloudevents+json"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is not stored yet."""

    id: str
    type: str
    source: str
    occurred_at: datetime
    data: str
    """JSON, exactly as the producer wrote it."""
    traceparent: str = ""


def read_message(message: SourceMessage, max_bytes: int) -> NewEvent:
    """The event in a message; raises Unreadable. `max_bytes` bounds the whole body."""
    if len(message.body) > max_bytes:
        raise Unreadable(f"the message has {len(message.body)} bytes, more than the {max_bytes} allowed")
    text = _utf8(message.body)
    content_type = message.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "ce-specversion" in message.headers or "ce-id" in message.headers:
        event = _binary(message, text)
    elif content_type == _CLOUDEVENTS_JSON or (not content_type and _looks_structured(text)):
        event = _structured(message, text)
    else:
        event = _plain(message, text)
    return event


def _plain(message: SourceMessage, text: str) -> NewEvent:
    data = check_json(text)
    if not data.lstrip(" \t\r\n").startswith("{"):
        raise Unreadable("the body must be a JSON object (the event's data)")
    _, _, type_ = message.subject.partition(".")
    return NewEvent(
        id=_event_id(message.headers.get("nats-msg-id") or f"evt_{message.position}"),
        type=check_type(type_),
        source="",
        occurred_at=message.stored_at,
        data=data,
        traceparent=_traceparent(message.headers.get("traceparent")),
    )


def _binary(message: SourceMessage, text: str) -> NewEvent:
    """The attributes are headers `ce-…`, the body is the data."""
    attributes = {name[3:]: value for name, value in message.headers.items() if name.startswith("ce-")}
    return _cloudevent(message, attributes, check_json(text))


def _structured(message: SourceMessage, text: str) -> NewEvent:
    check_json(text)
    attributes, raw = members(text)
    if "data_base64" in attributes:
        data = check_json(_utf8(_base64(attributes["data_base64"])))
    else:
        data = raw.get("data", "null")
    return _cloudevent(message, attributes, data)


def _cloudevent(message: SourceMessage, attributes: dict[str, Any], data: str) -> NewEvent:
    if attributes.get("specversion") != "1.0":
        raise Unreadable(f"CloudEvents specversion must be '1.0', not {attributes.get('specversion')!r}")
    for name in ("id", "source", "type"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise Unreadable(f"the CloudEvents attribute {name!r} is missing or not a string")
    if len(attributes["source"]) > _SOURCE_MAX or "\0" in attributes["source"]:
        raise Unreadable(f"the CloudEvents source is longer than {_SOURCE_MAX} characters or holds a NUL")
    return NewEvent(
        id=_event_id(attributes["id"]),
        type=check_type(attributes["type"]),
        source=attributes["source"],
        occurred_at=parse_time(attributes["time"]) if attributes.get("time") is not None else message.stored_at,
        data=data,
        traceparent=_traceparent(attributes.get("traceparent") or message.headers.get("traceparent")),
    )


def check_json(text: str) -> str:
    """The text itself, when it is JSON that we can store and send on; raises Unreadable with the place."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"the data is not JSON: {error}") from None
    return text


def check_type(name: Any) -> str:
    """An event type's dotted name; raises Unreadable."""
    if not isinstance(name, str) or len(name) > _TYPE_MAX or not _TYPE.fullmatch(name):
        raise Unreadable(f"{str(name)[:60]!r} is not an event type: words of letters, digits, - and _, joined by dots")
    return name


def parse_time(value: Any) -> datetime:
    """An RFC 3339 time with its zone; raises Unreadable."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Unreadable(f"{str(value)[:60]!r} is not a time in RFC 3339") from None
    if moment.tzinfo is None:
        raise Unreadable(f"the time {value!r} has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Unreadable(f"the time {value!r} is out of range") from None


def members(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The members of a valid JSON object: their values, and their source text. A repeated name: the last one counts."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)  # a number of 5,000 digits is nothing to compute with
    values: dict[str, Any] = {}
    raw: dict[str, str] = {}
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "}":
        name, position = decoder.raw_decode(text, position)
        start = _skip(text, _skip(text, position) + 1)
        values[name], end = decoder.raw_decode(text, start)
        raw[name] = text[start:end]
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return values, raw


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _looks_structured(text: str) -> bool:
    if '"specversion"' not in text or not text.lstrip(" \t\r\n").startswith("{"):
        return False
    check_json(text)
    return {"specversion", "id", "source", "type"} <= members(text)[0].keys()


def _event_id(value: str) -> str:
    try:
        return check_event_id(value)
    except InvalidInput as error:
        raise Unreadable(str(error)) from None


def _traceparent(value: Any) -> str:
    """A malformed one is dropped, as W3C Trace Context asks."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else ""


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Unreadable("data_base64 is not base64") from None
