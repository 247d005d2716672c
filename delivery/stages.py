"""The messages that delivery.pipeline takes, and the stages that it runs for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from delivery.due import Due
from delivery.errors import DeliveryDead, Postponed
from delivery.jobs import Job
from delivery.outcomes import Outcome
from delivery.recorder import AttemptRecord
from delivery.sending import Request


@dataclass(slots=True, eq=False)
class DeliveryMessage:
    """A delivery task's message, which asks for one attempt.

    `settle` is called once, at its end: with None to acknowledge it, with Postponed to put it back until later, with
    any other error to let Celery handle it.
    """

    delivery_id: str
    attempt: int
    settle: Callable[[Exception | None], None]
    tag: Any = None
    """The broker's delivery tag."""
    is_awaited: bool = False
    """Whether a queue at its cap may be waiting for this worker to settle messages."""
    begins: Callable[[], None] = lambda: None
    """Called when the delivery is loaded: the broker hands out more messages when few wait for that."""


Dead = tuple[AttemptRecord, DeliveryDead]
"""The last attempt of a delivery that ended without success, and how its task failed."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The functions that a pipeline calls for many deliveries at once, in tasks of delivery.turns: they must not block
    the thread.

    When `load`, `record` or `disable` raises a temporary error (delivery.passing), the pipeline calls it again until it
    succeeds.
    """

    load: Callable[[Sequence[str]], Sequence[Job | None]]
    send: Callable[[Request, Callable[[Outcome], None]], None]
    record: Callable[[Sequence[AttemptRecord]], Sequence[bool]]
    disable: Callable[[Sequence[AttemptRecord]], None]
    """Disables the attempts' subscriptions; does not wait long for their rows."""
    publish: Callable[[Sequence[Due]], None]
    """Queues attempts; does not raise when the broker is away."""
    store_dead: Callable[[Sequence[Dead]], None]
    """Stores failed tasks; does not raise when PostgreSQL is away."""
    hold_back: Callable[[Sequence[Postponed]], None]
    """Pauses queues from which only messages to be postponed would come; does not raise when a server is away."""
