"""What is passed from PostgreSQL to the broker: attempts to be made, and fan-outs."""

from dataclasses import dataclass, replace

from delivery.broker.naming import FREE
from partners.identifiers import FAN_OUT


@dataclass(frozen=True, slots=True)
class Due:
    """An attempt that is due now, or at `due_at` (Unix seconds)."""

    delivery_id: str
    attempt: int
    partner_id: str
    event_type: str
    due_at: float | None = None
    brought_forward: bool = False
    """Whether the attempt was requested now although the broker holds its message for later.

    It gets a second message, which overtakes the first. The worker that receives the later one finds that the attempt
    was made, or is in progress in the same worker. The row has this flag too, so the attempt is always queued again
    with the same message id.
    """

    @property
    def message_id(self) -> str:
        """The id of the message in the broker, which is also the Celery task id."""
        return f"{self.delivery_id}:{self.attempt}" + (":now" if self.brought_forward else "")

    @property
    def message_ids(self) -> tuple[str, str]:
        """The ids of the ordinary message and of the one that was brought forward. The broker may hold both."""
        return replace(self, brought_forward=False).message_id, replace(self, brought_forward=True).message_id


@dataclass(frozen=True, slots=True)
class FanOutDue:
    """An event whose deliveries to one partner are to be made (delivery.fan_out)."""

    fan_out_id: str
    partner_id: str
    event_type: str

    @property
    def message_id(self) -> str:
        """The rate limit does not count it, because it is no request."""
        return FREE + self.fan_out_id


Queued = Due | FanOutDue
"""What partners' queues hold."""


def due_columns(due_at: str = "NULL") -> str:
    """SQL for the fields of the next Due of a row of delivery_delivery, in order. `due_at` is an SQL expression."""
    is_brought_forward = "brought_forward IS NOT DISTINCT FROM attempt_count + 1"
    return f"id, attempt_count + 1, partner_id, event_type, {due_at}, {is_brought_forward}"


FAN_OUT_COLUMNS = "id, 1, partner_id, event_type, NULL, false"
"""SQL for a row of delivery_fanout, in the form of `due_columns`."""


def queued(id_: str, attempt: int, partner_id: str, event_type: str, due_at: float | None, sooner: bool) -> Queued:
    """What a row of `due_columns` or of FAN_OUT_COLUMNS stands for."""
    if id_.startswith(FAN_OUT):
        return FanOutDue(id_, partner_id, event_type)
    return Due(id_, attempt, partner_id, event_type, due_at, sooner)
