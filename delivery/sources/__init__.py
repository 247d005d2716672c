"""Where events come from. Another source is one file here: a class with the five methods of `Source`.

A source hands out messages, and keeps each until it is acknowledged or terminated; what it hands out and never hears
of again it hands out once more. It decides nothing about their content (delivery.messages reads them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One message as it lay in the source."""

    source: str
    """What handed it out, such as `nats`."""
    subject: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    position: str
    """Identifies the message in its source for ever, also over redeliveries."""
    stored_at: datetime
    handle: Any
    """What the source needs to acknowledge it."""


class SourceUnavailable(Exception):  # noqa: N818 - a state, not a mistake
    """The source cannot be reached now; the bridge says so once and tries again."""


class Source(Protocol):
    """Every method may raise SourceUnavailable."""

    async def connect(self) -> None:
        """Connects, and creates what is missing on the other side."""

    async def fetch(self, limit: int) -> list[SourceMessage]:
        """At most about `limit` messages; waits a second or so when there are none, then returns an empty list."""

    async def acknowledge(self, messages: Sequence[SourceMessage]) -> None:
        """These are stored with us: never hand them out again."""

    async def terminate(self, messages: Sequence[SourceMessage]) -> None:
        """These can never be read (and are kept as dead letters): never hand them out again."""

    async def close(self) -> None: ...
