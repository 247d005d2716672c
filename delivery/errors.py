"""Our own exceptions, in one tree. An endpoint's fault is never one of them: it is an Outcome.

DeliveryError
├── Unreadable         a source message that cannot become an event: stored as a dead letter
└── TaskResult         how a delivery task reports its result to Celery
    ├── TryLater       the attempt failed, or was made before; Celery retries when the next one is due
    ├── Postponed      no attempt was made: the breaker is open, say; the same one is due later
    └── DeliveryDead   no attempt is left: stored as a failure in the task results
"""

from delivery.due import Due


class DeliveryError(Exception):
    """The base of this package's exceptions."""


class Unreadable(DeliveryError):  # noqa: N818 - says what the message is
    """`str()` is the reason, which may be shown to the producer."""


class TaskResult(DeliveryError):  # noqa: N818
    """Raised by a delivery task to report its result."""


class TryLater(TaskResult):
    """Another attempt, `due`, must be queued in place of the task's."""

    def __init__(self, due: Due, reason: str) -> None:
        super().__init__(due, reason)
        self.due = due
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}; attempt {self.due.attempt} follows"


class Postponed(TaskResult):
    """The same attempt is due again at `until` (Unix seconds).

    `of_partner`: until then, all attempts of the partner are, not only those of the subscription.
    """

    def __init__(self, until: float, subscription_id: str, partner_id: str, *, of_partner: bool = False) -> None:
        super().__init__(until, subscription_id, partner_id)
        self.until = until
        self.subscription_id = subscription_id
        self.partner_id = partner_id
        self.of_partner = of_partner


class DeliveryDead(TaskResult):
    """The delivery ended without success."""
