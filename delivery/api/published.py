"""Reads events from the bodies that producers post. An error names what is wrong, and where.

An event's data is kept as the bytes received. JSON that is too deep or too large, has invalid UTF-8, NUL characters or
numbers beyond 64-bit floats is refused, because later readers could not handle it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings

from delivery.errors import Unreadable
from delivery.messages import SOURCE_MAX, NewEvent, check_source, check_type, parse_time
from partners.api.fields import RFC3339
from partners.errors import InvalidInput, JSONError
from partners.exact_json import EVENT_LIMITS, Limits, check, members
from partners.identifiers import EVENT_ID_MAX, check_event_id

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_KNOWN = frozenset(["id", "type", "data", "timestamp", "source"])


class EventInvalid(Exception):  # noqa: N818 - a name for what it is
    """An event that is refused. `pointer` is a JSON pointer into the event; `event_id` is empty if it was not read."""

    def __init__(self, pointer: str, detail: str, *, too_large: bool = False) -> None:
        super().__init__(detail)
        self.pointer = pointer
        self.detail = detail
        self.too_large = too_large
        self.event_id = ""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values for members that an event does not have."""

    id: Callable[[], str]
    received_at: datetime


def read_event(raw: bytes, defaults: Defaults) -> NewEvent:
    """Reads an event; its data keeps its exact bytes. Raises EventInvalid."""
    if len(raw) > settings.EVENT_MAX_BYTES:
        detail = f"the event has {len(raw)} bytes, at most {settings.EVENT_MAX_BYTES} are allowed"
        raise EventInvalid("", detail, too_large=True)
    parts = _members(raw)
    given = parts.get("id", b"null") != b"null"
    event_id = _event_id(_value(parts, "id")) if given else ""
    try:
        return _event(parts, event_id, defaults)
    except EventInvalid as error:
        error.event_id = event_id
        raise


def _event(parts: Mapping[str, bytes], event_id: str, defaults: Defaults) -> NewEvent:
    for name in parts.keys() - _KNOWN:
        raise EventInvalid(f"/{name[:100]}", f"unknown member; an event has {', '.join(sorted(_KNOWN))}")
    time = _value(parts, "timestamp")
    return NewEvent(
        id=event_id or defaults.id(),
        type=_event_type(_value(parts, "type")),
        source=_source(_value(parts, "source")),
        occurred_at=defaults.received_at if time is None else _time(time),
        data=_data(parts),
    )


def _members(raw: bytes) -> Mapping[str, bytes]:
    try:
        return members(raw, Limits(len(raw), EVENT_LIMITS.max_depth + 1))
    except JSONError as error:
        raise EventInvalid("", str(error)) from None


def _value(parts: Mapping[str, bytes], name: str) -> Any:
    try:
        return orjson.loads(parts.get(name, b"null"))
    except orjson.JSONDecodeError:
        raise EventInvalid(f"/{name}", "a number is beyond the range of 64-bit floats") from None


def _event_id(value: Any) -> str:
    return _checked(value, "/id", f"expected text of 1 to {EVENT_ID_MAX} visible ASCII characters", check_event_id)


def _event_type(value: Any) -> str:
    return _checked(value, "/type", "expected the name of an event type, such as orders.created", check_type)


def _source(value: Any) -> str:
    if value is None:
        return ""
    return _checked(value, "/source", f"expected text of at most {SOURCE_MAX} characters", check_source)


def _checked(value: Any, pointer: str, expected: str, check: Callable[[str], str]) -> str:
    """The value, if it is text that `check` accepts. Raises EventInvalid."""
    if not isinstance(value, str):
        raise EventInvalid(pointer, expected)
    try:
        return check(value)
    except (InvalidInput, Unreadable) as error:
        raise EventInvalid(pointer, str(error)) from None


def _time(value: Any) -> datetime:
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise EventInvalid("/timestamp", "expected a time with its zone, such as 2026-05-01T12:00:00Z")
    try:
        return parse_time(value.upper())
    except Unreadable as error:
        raise EventInvalid("/timestamp", str(error)) from None


def _data(parts: Mapping[str, bytes]) -> bytes:
    if "data" not in parts:
        raise EventInvalid("/data", "missing; expected any JSON")
    data = parts["data"]
    try:
        check(data, Limits(settings.EVENT_MAX_BYTES, EVENT_LIMITS.max_depth))
        orjson.loads(data)
    except JSONError as error:
        raise EventInvalid("/data", str(error)) from None
    except orjson.JSONDecodeError:
        raise EventInvalid("/data", "a number is beyond the range of 64-bit floats") from None
    if _NUL.search(data):
        raise EventInvalid("/data", "a string contains the NUL character")
    return data
