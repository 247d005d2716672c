"""An attempt that is to be made: what travels from PostgreSQL to the broker."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Due:
    """Now, or at `due_at` (Unix seconds)."""

    delivery_id: str
    attempt: int
    partner_id: str
    event_type: str
    due_at: float | None = None
    brought_forward: bool = False
    """Somebody wants it now, while the broker holds it for later: a message of its own, which overtakes that one.

    Whichever comes second finds that the attempt was made already, or is under way in the same worker. Its row says so
    too: whoever queues it again, queues this message.
    """

    @property
    def message_id(self) -> str:
        """What the broker knows this attempt by; also the Celery task id."""
        return f"{self.delivery_id}:{self.attempt}" + (":now" if self.brought_forward else "")

    @property
    def message_ids(self) -> tuple[str, str]:
        """Of the ordinary message and of the one that was brought forward: the broker may hold either, or both."""
        return replace(self, brought_forward=False).message_id, replace(self, brought_forward=True).message_id


def due_columns(due_at: str = "NULL") -> str:
    """SQL: what the next Due of a row of delivery_delivery is made of, in order. `due_at` is SQL for its time."""
    is_brought_forward = "brought_forward IS NOT DISTINCT FROM attempt_count + 1"
    return f"id, attempt_count + 1, partner_id, event_type, {due_at}, {is_brought_forward}"
