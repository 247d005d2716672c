"""An attempt that is to be made: what travels from PostgreSQL to the broker."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Due:
    """Now, or at `due_at` (Unix seconds)."""

    delivery_id: str
    attempt: int
    partner_id: str
    event_type: str
    due_at: float | None = None

    @property
    def message_id(self) -> str:
        """What the broker knows this attempt by; also the Celery task id."""
        return f"{self.delivery_id}:{self.attempt}"
