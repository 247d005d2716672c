"""The sources of events. Each is a module here, with a class that has the five methods of `Source`. The command
`bridge` chooses one.

A source hands out messages, and keeps each until it is acknowledged or terminated. A message that is neither is handed
out again. A source does not look at the content of messages (delivery.messages parses them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """A message as it is in the source."""

    source: str
    """The source's name, such as `nats`."""
    subject: str
    """The type of an event in the plain form is what follows the first dot."""
    headers: Mapping[str, str]
    """Names in lower case. `nats-msg-id` is the id of an event in the plain form; CloudEvents have `content-type` or
    `ce-…`."""
    body: bytes
    position: str
    """Identifies the message in its source for ever: the same in each redelivery."""
    stored_at: datetime
    handle: Any
    """The source's own object, with which it acknowledges the message."""


class SourceUnavailable(Exception):  # noqa: N818 - a state, not a mistake
    """The source cannot be reached now. The bridge logs that once and tries again."""


class Source(Protocol):
    """Every method may raise SourceUnavailable."""

    async def connect(self) -> None:
        """Connects, and creates what is missing on the server."""

    async def fetch(self, limit: int) -> list[SourceMessage]:
        """Returns about `limit` messages at most. If there are none, waits about a second and returns an empty list."""

    async def acknowledge(self, messages: Sequence[SourceMessage]) -> None:
        """These messages are stored: never hand them out again."""

    async def terminate(self, messages: Sequence[SourceMessage]) -> None:
        """These messages cannot be read, and are stored as dead letters: never hand them out again."""

    async def close(self) -> None:
        """Hands out again, to anybody, what it has handed out and what was neither acknowledged nor terminated."""
