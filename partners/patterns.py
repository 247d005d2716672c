"""Event type names (`orders.created`) and the patterns that subscriptions use to ask for them.

A pattern is an exact name, `<prefix>.*` or `*`. `orders.*` means everything below `orders`, at any depth:
`orders.created` and `orders.items.added`, but not `orders` itself, nor `ordersbook.x`. Names are case-sensitive. A star
anywhere else is refused, so that routing an event takes a few dictionary look-ups (`candidates`).
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from partners.errors import PatternError

EVENT_TYPE_MAX = 200
SEGMENTS_MAX = 10
PATTERNS_MAX = 100
TYPE_REGEX = rf"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){{0,{SEGMENTS_MAX - 1}}}"
"""The form of an event type, for the OpenAPI document."""

EVERYTHING = "*"

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")


@lru_cache(maxsize=10_000)
def check_event_type(name: str) -> str:
    """Returns the name. Raises PatternError, which says what is wrong and where."""
    _check_segments(name, "event type")
    return name


def check_pattern(text: str) -> str:
    """Returns the pattern. Raises PatternError, which says what is wrong and where."""
    if text == EVERYTHING:
        return text
    _check_segments(text.removesuffix(".*"), "pattern")
    return text


def check_patterns(texts: Iterable[str]) -> None:
    """Checks the patterns of one subscription: from 1 to PATTERNS_MAX different ones. Raises PatternError."""
    patterns = set(map(check_pattern, texts))
    if not patterns:
        raise PatternError("no event type pattern: give at least one, or `*` for every event type")
    if len(patterns) > PATTERNS_MAX:
        raise PatternError(f"{len(patterns)} event type patterns: at most {PATTERNS_MAX} are allowed")


def candidates(event_type: str) -> tuple[str, ...]:
    """Every pattern that matches this event type, the narrowest first.

    `orders.items.added` gives `orders.items.added`, `orders.items.*`, `orders.*`, `*`.
    """
    found = [event_type]
    prefix = event_type
    while "." in prefix:
        prefix = prefix.rpartition(".")[0]
        found.append(f"{prefix}.*")
    return (*found, EVERYTHING)


def matches(pattern: str, event_type: str) -> bool:
    if pattern in (EVERYTHING, event_type):
        return True
    return pattern.endswith(".*") and event_type.startswith(pattern[:-1])


def asks_for(patterns: Iterable[str], event_type: str) -> bool:
    """Whether one of a subscription's patterns matches."""
    return any(matches(pattern, event_type) for pattern in patterns)


def category(event_type: str) -> str:
    """The part before the first dot; the whole name if there is none."""
    return event_type.partition(".")[0]


def _check_segments(name: str, what: str) -> None:
    if not name or len(name) > EVENT_TYPE_MAX:
        raise PatternError(f"{what}: 1 to {EVENT_TYPE_MAX} characters are allowed, not {len(name)}")
    segments = name.split(".")
    if len(segments) > SEGMENTS_MAX:
        raise PatternError(f"{name[:60]!r} has {len(segments)} parts between dots: at most {SEGMENTS_MAX} are allowed")
    position = 1
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise PatternError(f"{_shown(name)}: {_fault(segment, position)}; {_hint(name, what)}")
        position += len(segment) + 1


def _fault(segment: str, position: int) -> str:
    if not segment:
        return f"an empty part at character {position}"
    fitting = _SEGMENT.match(segment)
    place = fitting.end() if fitting else 0
    return f"{segment[place]!r} at character {position + place} is not allowed"


def _hint(name: str, what: str) -> str:
    if "*" in name:
        return (
            "a star stands alone or after the last dot, as in `*` and `orders.*`"
            if what == "pattern"
            else "only patterns have stars"
        )
    if "/" in name:
        return f"write `{name.replace('/', '.')[:60]}`, with dots"
    return "parts are letters, digits, `_` and `-`, with one dot between them"


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")
