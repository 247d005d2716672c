"""Parses a source message into an event: plain JSON, CloudEvents 1.0 structured, or CloudEvents binary.

Pure. The data's bytes are kept as they came, never parsed and serialized again, so key order and the spelling of
numbers survive. A message that cannot be parsed raises Unreadable with the reason.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from delivery.errors import Unreadable
from delivery.sources import SourceMessage
from partners.envelope import Envelope, rfc3339
from partners.errors import InvalidInput
from partners.exact_json import EVENT_LIMITS, Limits, check, members
from partners.identifiers import check_event_id
from partners.patterns import check_event_type

OUR_SOURCE = "recart-hooks"
"""The prefix of the sources of our own events, each for one subscription alone. Producers' events may not have it, and
replays skip these events."""
CHALLENGE = "endpoint.challenge"
"""The type of the request that verifies an endpoint. No event has it."""

SOURCE_MAX = 500
_CLOUDEVENTS_JSON = "application/cloudevents+json"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is not stored yet."""

    id: str
    type: str
    source: str
    """The CloudEvents source; empty for an event that came without one."""
    occurred_at: datetime
    data: bytes
    """JSON, exactly as the producer wrote it."""
    traceparent: str = ""

    @property
    def envelope(self) -> Envelope:
        return Envelope(self.id, self.type, rfc3339(self.occurred_at), self.data)


def read_message(message: SourceMessage, max_bytes: int) -> NewEvent:
    """The event in a message; raises Unreadable. `max_bytes` limits the whole body."""
    try:
        return _read(message, Limits(max_bytes, EVENT_LIMITS.max_depth))
    except InvalidInput as error:
        raise Unreadable(str(error)) from None


def _read(message: SourceMessage, limits: Limits) -> NewEvent:
    headers = message.headers
    check(message.body, limits)
    if "ce-specversion" in headers or "ce-id" in headers:
        attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
        return _cloudevent(message, attributes, message.body)
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == _CLOUDEVENTS_JSON or (not content_type and b'"specversion"' in message.body):
        parts = members(message.body, limits)
        if content_type or {"specversion", "id", "source", "type"} <= parts.keys():
            return _structured(message, parts, limits)
    return _plain(message)


def _plain(message: SourceMessage) -> NewEvent:
    if not message.body.lstrip(b" \t\r\n").startswith(b"{"):
        raise Unreadable("the body must be a JSON object (the event's data)")
    return NewEvent(
        id=check_event_id(message.headers.get("nats-msg-id") or f"evt_{message.position}"),
        type=check_type(message.subject.partition(".")[2]),
        source="",
        occurred_at=message.stored_at,
        data=message.body,
        traceparent=traceparent(message.headers.get("traceparent")),
    )


def _structured(message: SourceMessage, parts: Mapping[str, bytes], limits: Limits) -> NewEvent:
    try:
        attributes = {name: orjson.loads(raw) for name, raw in parts.items() if name != "data"}
    except orjson.JSONDecodeError:
        raise Unreadable("a CloudEvents attribute holds a number beyond what 64-bit floats hold") from None
    data = parts.get("data", b"null")
    if "data_base64" in attributes:
        data = _base64(attributes["data_base64"])
        check(data, limits)
    return _cloudevent(message, attributes, data)


def _cloudevent(message: SourceMessage, attributes: Mapping[str, Any], data: bytes) -> NewEvent:
    if attributes.get("specversion") != "1.0":
        raise Unreadable(f"CloudEvents specversion must be '1.0', not {attributes.get('specversion')!r}")
    for name in ("id", "source", "type"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise Unreadable(f"the CloudEvents attribute {name!r} is missing or not a string")
    time = attributes.get("time")
    return NewEvent(
        id=check_event_id(attributes["id"]),
        type=check_type(attributes["type"]),
        source=check_source(attributes["source"]),
        occurred_at=message.stored_at if time is None else parse_time(time),
        data=data,
        traceparent=traceparent(attributes.get("traceparent") or message.headers.get("traceparent")),
    )


def check_type(name: str) -> str:
    """Returns the type if a producer's event may have it; raises Unreadable or InvalidInput."""
    if name == CHALLENGE:
        raise Unreadable(f"the type {CHALLENGE} is reserved")
    return check_event_type(name)


def check_source(source: str) -> str:
    """Returns the source if a producer's event may have it; raises Unreadable."""
    if len(source) > SOURCE_MAX or "\0" in source:
        raise Unreadable(f"a source has at most {SOURCE_MAX} characters, and no NUL")
    if source.startswith(OUR_SOURCE):
        raise Unreadable(f"sources that begin with {OUR_SOURCE} are reserved")
    return source


def parse_time(value: Any) -> datetime:
    """An RFC 3339 time with its zone, in UTC; raises Unreadable."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise Unreadable(f"the time {value!r} has no time zone")
        return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{str(value)[:60]!r} is not an RFC 3339 time") from None


def traceparent(value: Any) -> str:
    """The header if it is valid, else empty: W3C Trace Context says to ignore a malformed one."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else ""


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise Unreadable("data_base64 is not base64") from None
