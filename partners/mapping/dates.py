"""Parses and formats dates, the same on every machine: without locale, time zone database and clock."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

DATE_FORMATS = ("iso", "iso_ms", "date", "time", "unix", "unix_ms")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 100_000_000_000
"""Numbers from this size on are milliseconds. As seconds it would be in the year 5138."""

_BEYOND = 10**18

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|UTC|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
_DIRECTIVE = re.compile(r"%(-?.)", re.DOTALL)


def date_from_text(text: str) -> datetime:
    """ISO 8601 as Shopify and GitHub write it. No offset means UTC. Raises ValueError."""
    found = _ISO.fullmatch(text)
    if found is None:
        raise ValueError("not an ISO 8601 date")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    microsecond = int((found[7] or "").ljust(6, "0")[:6])
    return datetime(year, month, day, hour, minute, second, microsecond, zone_from_text(found[8] or "Z"))


def date_from_number(number: int | Decimal) -> datetime:
    """Unix time: seconds, or milliseconds when it is too large for seconds. Raises ValueError or OverflowError."""
    exact = Decimal(number)
    if not -_BEYOND < exact < _BEYOND:
        raise ValueError("beyond the year 9999")
    scale = 1_000 if abs(exact) >= _MILLISECONDS_FROM else 1
    return _EPOCH + timedelta(microseconds=math.floor(exact * 1_000_000 / scale))


def zone_from_text(text: str) -> timezone:
    """`UTC`, `Z` or an offset such as `+02:00`. Raises ValueError."""
    if text.upper() in ("UTC", "Z"):
        return UTC
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise ValueError("write UTC or an offset such as +02:00")
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset)


def check_format(text: str) -> None:
    """Raises ValueError, which says what is wrong."""
    if text in DATE_FORMATS:
        return
    if "%" not in text:
        raise ValueError(f"not a date format: one of {', '.join(DATE_FORMATS)}, or a pattern such as %Y-%m-%d")
    for directive in _DIRECTIVE.findall(text + " "):
        if directive not in _DIRECTIVES:
            raise ValueError(f"%{directive} is not available in a date; there are %{' %'.join(_DIRECTIVES)}")


def format_date(moment: datetime, form: str) -> str | int:
    match form:
        case "unix":
            return (moment - _EPOCH) // timedelta(seconds=1)
        case "unix_ms":
            return (moment - _EPOCH) // timedelta(milliseconds=1)
        case "iso":
            return f"{_pattern(moment, '%Y-%m-%dT%H:%M:%S')}{_offset(moment, 'Z', ':')}"
        case "iso_ms":
            millisecond = moment.microsecond // 1000
            return f"{_pattern(moment, '%Y-%m-%dT%H:%M:%S')}.{millisecond:03}{_offset(moment, 'Z', ':')}"
        case "date":
            return _pattern(moment, "%Y-%m-%d")
        case "time":
            return _pattern(moment, "%H:%M:%S")
    return _pattern(moment, form)


def _pattern(moment: datetime, pattern: str) -> str:
    return _DIRECTIVE.sub(lambda found: _DIRECTIVES[found[1]](moment), pattern)


def _offset(moment: datetime, utc: str, colon: str) -> str:
    offset = moment.utcoffset() or timedelta()
    if not offset and utc:
        return utc
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02}{colon}{minutes % 60:02}"


_DIRECTIVES: dict[str, Callable[[datetime], str]] = {
    "Y": lambda moment: f"{moment.year:04}",
    "y": lambda moment: f"{moment.year % 100:02}",
    "m": lambda moment: f"{moment.month:02}",
    "-m": lambda moment: f"{moment.month}",
    "B": lambda moment: _MONTHS[moment.month - 1],
    "b": lambda moment: _MONTHS[moment.month - 1][:3],
    "d": lambda moment: f"{moment.day:02}",
    "-d": lambda moment: f"{moment.day}",
    "j": lambda moment: f"{moment.timetuple().tm_yday:03}",
    "A": lambda moment: _DAYS[moment.weekday()],
    "a": lambda moment: _DAYS[moment.weekday()][:3],
    "H": lambda moment: f"{moment.hour:02}",
    "-H": lambda moment: f"{moment.hour}",
    "I": lambda moment: f"{(moment.hour - 1) % 12 + 1:02}",
    "-I": lambda moment: f"{(moment.hour - 1) % 12 + 1}",
    "p": lambda moment: "AM" if moment.hour < 12 else "PM",
    "M": lambda moment: f"{moment.minute:02}",
    "S": lambda moment: f"{moment.second:02}",
    "f": lambda moment: f"{moment.microsecond:06}",
    "z": lambda moment: _offset(moment, "", ""),
    "%": lambda moment: "%",
}
