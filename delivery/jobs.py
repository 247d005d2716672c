"""Loads the delivery, the event and the endpoint of each attempt, with one query for a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from delivery.database import Ask, ask
from delivery.endpoints import Endpoint, EndpointCache
from partners.envelope import Envelope, rfc3339

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery as it is in PostgreSQL, with its event and its endpoint."""

    delivery_id: str
    status: str
    attempt_count: int
    next_attempt_at: datetime | None
    event_id: str
    event_type: str
    occurred_at: datetime
    data: str
    traceparent: str
    endpoint: Endpoint
    is_expunged: bool = False

    @classmethod
    def unsaved(cls, event_id: str, event_type: str, occurred_at: datetime, data: str, endpoint: Endpoint) -> "Job":
        """A job without a stored event and delivery: it can be prepared and sent, but not recorded."""
        return cls(
            delivery_id="",
            status=PENDING,
            attempt_count=0,
            next_attempt_at=None,
            event_id=event_id,
            event_type=event_type,
            occurred_at=occurred_at,
            data=data,
            traceparent="",
            endpoint=endpoint,
        )

    @property
    def envelope(self) -> Envelope:
        return Envelope(self.event_id, self.event_type, rfc3339(self.occurred_at), self.data.encode())


_SQL = """
SELECT d.id, d.status, d.attempt_count, d.next_attempt_at, e.id, e.type, e.occurred_at, e.data, e.traceparent,
       e.expunged_at IS NOT NULL, d.subscription_id
FROM delivery_delivery d JOIN delivery_event e ON e.id = d.event_id
WHERE d.id = ANY(%b::text[])
"""


class JobLoader:
    """The pipeline's `load`: the jobs of these delivery ids, None for a delivery that does not exist any more."""

    def __init__(self, endpoints: EndpointCache, ask: Ask = ask) -> None:
        self._endpoints = endpoints
        self._ask = ask

    def __call__(self, delivery_ids: Sequence[str]) -> list[Job | None]:
        rows = self._ask(_SQL, [list(delivery_ids)])
        endpoints = self._endpoints.get(row[-1] for row in rows)
        rows = [row for row in rows if row[-1] in endpoints]  # without: its subscription was deleted in SQL (`verify`)
        jobs = {row[0]: Job(*row[:-2], endpoints[row[-1]], row[-2]) for row in rows}  # type: ignore[call-arg]
        return [jobs.get(delivery_id) for delivery_id in delivery_ids]
