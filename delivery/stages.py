"""What a pipeline takes, and the stages that each delivery goes through (delivery.pipeline)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from delivery.due import Due
from delivery.errors import Postponed
from delivery.jobs import Job
from delivery.outcomes import Outcome
from delivery.recorder import AttemptRecord
from delivery.sending import Request


@dataclass(slots=True, eq=False)
class Told:
    """A message: make this attempt. `settle` is called at its end: with None when it is done, with Postponed when it is
    to come again, with any other error for Celery to handle."""

    delivery_id: str
    attempt: int
    settle: Callable[[Exception | None], None]
    tag: Any = None
    """Its delivery tag."""
    is_awaited: bool = False
    """Whether others may wait for it to be settled."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What is done for many at once, in a task of the turns; what blocks in them is offloaded.

    A load, a record or a disabling that raises passing trouble (delivery.passing) is tried again until it succeeds.
    """

    load: Callable[[Sequence[str]], Sequence[Job | None]]
    send: Callable[[Request, Callable[[Outcome], None]], None]
    record: Callable[[Sequence[AttemptRecord]], Sequence[bool]]
    disable: Callable[[AttemptRecord], None]
    """Disables the attempt's subscription; never waits for long."""
    publish: Callable[[Sequence[Due]], None]
    """Queues attempts; never raises for a broker that is away."""
    hold_back: Callable[[Sequence[Postponed]], None]
    """Keeps more of what these are from coming, where it can; never raises for a server that is away."""
