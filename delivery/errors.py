"""Our own exceptions, in one tree. What a partner's endpoint does wrong is never one of them: it is an Outcome.

DeliveryError
├── Unreadable         a source message that cannot become an event: kept as a dead letter
└── TaskResult         how a delivery task tells Celery what became of it
    ├── TryLater       the attempt failed and another one is scheduled: Celery retries at that time
    ├── Postponed      no attempt was made, the same one is to be made later: the breaker is open
    └── DeliveryDead   no attempt is left: kept as a failure in the task results
"""

from delivery.due import Due


class DeliveryError(Exception):
    """Everything this package raises on purpose."""


class Unreadable(DeliveryError):  # noqa: N818 - a name for what it is
    """`str()` is the reason, fit to be shown to the producer."""


class TaskResult(DeliveryError):  # noqa: N818
    """Raised by a delivery task after its attempt was recorded."""


class TryLater(TaskResult):
    """Another attempt is to be queued, in place of the one that the task was for."""

    def __init__(self, due: Due, reason: str) -> None:
        super().__init__(due, reason)
        self.due = due
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}; attempt {self.due.attempt} follows"


class Postponed(TaskResult):
    """The same attempt is due again at `until` (Unix seconds)."""

    def __init__(self, until: float, subscription_id: str, partner_id: str) -> None:
        super().__init__(until, subscription_id, partner_id)
        self.until = until
        self.subscription_id = subscription_id
        self.partner_id = partner_id


class DeliveryDead(TaskResult):
    """The delivery ended without success."""
