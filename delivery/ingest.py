"""Stores events and their deliveries, one transaction per batch, and says what is to be published.

Exactly one row per event id and one per (event, subscription), however often the same batch comes: unique constraints
decide, not this code. The caller publishes after the commit and only then acknowledges its source; an event that is
stored already yields its unfinished deliveries again, because nobody knows whether they were published (the broker
drops those that it knows).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from delivery.database import bulk_cursor
from delivery.due import Due, due_columns
from delivery.messages import NewEvent
from delivery.routes import Router
from delivery.routing import Selection
from partners.identifiers import DELIVERY, new_id


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a batch."""

    stored: frozenset[str]
    """Ids of events that are new."""
    due: Sequence[Due]
    """What to publish."""
    ids: Sequence[str]
    """The id that each event of the batch is stored under, in the batch's order."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that may be stored, with the reason why it breaks its schema (flagged, not refused)."""

    event: NewEvent
    schema_error: str = ""


def ingest(batch: Sequence[Accepted], router: Router) -> Ingested:
    """Routes and stores a batch, and returns after the commit.

    Raises django.db.Error. Then all or nothing of it is stored, or, where CloudEvents of two sources share an id, what
    was first: the caller hands the batch in again, and what is stored already is found to be.
    """
    with bulk_cursor() as cursor:
        stored, due = _store(cursor, batch, router)
        renamed = _of_another_source(cursor, batch, stored)
        if renamed:
            more, more_due = _store(cursor, list(renamed.values()), router)
            stored, due = stored | more, due + more_due
        ids = [renamed.get(index, one).event.id for index, one in enumerate(batch)]
        duplicates = frozenset(ids) - stored
        if duplicates:
            due += _unfinished(cursor, duplicates)
    return Ingested(stored=stored, due=due, ids=ids)


_STORE = """
WITH new AS (
    INSERT INTO delivery_event (id, type, source, occurred_at, received_at, data, schema_error, traceparent)
    SELECT id, type, source, occurred_at, statement_timestamp(), data, schema_error, traceparent
    FROM unnest(%(id)b::text[], %(type)b::text[], %(source)b::text[], %(occurred_at)b::timestamptz[], %(data)b::text[],
                %(schema_error)b::text[], %(traceparent)b::text[])
         AS batch (id, type, source, occurred_at, data, schema_error, traceparent)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), deliveries AS (
    INSERT INTO delivery_delivery (id, event_id, subscription_id, partner_id, event_type, attempt_count, created_at,
                                   last_error, status, next_attempt_at, finished_at)
    SELECT batch.id, event_id, subscription_id, partner_id, event_type, 0, now, fault,
           CASE WHEN fault = '' THEN 'pending' ELSE 'dead' END,
           CASE WHEN fault = '' THEN now END, CASE WHEN fault <> '' THEN now END
    FROM unnest(%(delivery_id)b::text[], %(event_id)b::text[], %(subscription_id)b::text[], %(partner_id)b::text[],
                %(event_type)b::text[], %(fault)b::text[])
         AS batch (id, event_id, subscription_id, partner_id, event_type, fault), (SELECT statement_timestamp() AS now)
    WHERE (event_id IN (SELECT id FROM new)) IS TRUE
)
SELECT id FROM new
"""
"""`IS TRUE` makes PostgreSQL look the new events up in a hash table. As a join it would compare each event of the batch
with each delivery, because a connection that keeps its plans may not hash joins (delivery.database)."""


def _store(cursor: Any, batch: Sequence[Accepted], router: Router) -> tuple[frozenset[str], list[Due]]:
    """Which events are new, and what is to be published of them: one statement, so one transaction and round trip."""
    if not batch:
        return frozenset(), []
    events = [one.event for one in batch]
    deliveries = [delivery for event in _unique(events) for delivery in _deliveries(event, router.route(event))]
    cursor.execute(
        _STORE,
        {
            "id": [event.id for event in events],
            "type": [event.type for event in events],
            "source": [event.source for event in events],
            "occurred_at": [event.occurred_at for event in events],
            "data": [event.data.decode() for event in events],
            "schema_error": [one.schema_error for one in batch],
            "traceparent": [event.traceparent for event in events],
            "delivery_id": [one.due.delivery_id for one in deliveries],
            "event_id": [one.event_id for one in deliveries],
            "subscription_id": [one.subscription_id for one in deliveries],
            "partner_id": [one.due.partner_id for one in deliveries],
            "event_type": [one.due.event_type for one in deliveries],
            "fault": [one.fault for one in deliveries],
        },
    )
    stored = frozenset(row[0] for row in cursor.fetchall())
    return stored, [one.due for one in deliveries if one.event_id in stored and not one.fault]


def _of_another_source(cursor: Any, batch: Sequence[Accepted], stored: frozenset[str]) -> dict[int, Accepted]:
    """Events, by their place, whose id belongs to an event of another CloudEvents source; with an id of their own."""
    places = [index for index, one in enumerate(batch) if one.event.source and one.event.id not in stored]
    places += _clashing_within(batch, stored)
    if not places:
        return {}
    taken = [batch[index].event.id for index in places]
    cursor.execute("SELECT id, source FROM delivery_event WHERE id = ANY(%b::text[])", [taken])
    sources = dict(cursor.fetchall())
    events = {index: batch[index].event for index in places}
    return {
        index: replace(batch[index], event=replace(event, id=_id_with_source(event)))
        for index, event in events.items()
        if sources.get(event.id) != event.source
    }


def _clashing_within(batch: Sequence[Accepted], stored: frozenset[str]) -> list[int]:
    """Places of events whose id was taken by an event of another source in the same batch."""
    first: dict[str, str] = {}
    places = []
    for index, one in enumerate(batch):
        taken_by = first.setdefault(one.event.id, one.event.source)
        if one.event.id in stored and one.event.source and taken_by != one.event.source:
            places.append(index)
    return places


def _id_with_source(event: NewEvent) -> str:
    """CloudEvents are unique by source and id; where two sources share an id, the later one gets this."""
    return f"{event.id}~{hashlib.sha256(event.source.encode()).hexdigest()[:16]}"


def _unique(events: Iterable[NewEvent]) -> list[NewEvent]:
    return list({event.id: event for event in reversed(list(events))}.values())[::-1]


@dataclass(frozen=True, slots=True)
class _NewDelivery:
    due: Due
    event_id: str
    subscription_id: str
    fault: str = ""
    """Why it is dead from the start: its filter could not digest the event."""


def _deliveries(event: NewEvent, selection: Selection) -> Iterator[_NewDelivery]:
    for route in selection.wanted:
        due = Due(new_id(DELIVERY), 1, route.partner_id, event.type)
        yield _NewDelivery(due, event.id, route.subscription_id)
    for route, error in selection.failed:
        due = Due(new_id(DELIVERY), 1, route.partner_id, event.type)
        yield _NewDelivery(due, event.id, route.subscription_id, f"filter: {error}"[:500])


def _unfinished(cursor: Any, event_ids: frozenset[str]) -> list[Due]:
    """Unfinished deliveries of events that were stored before; a scheduled retry keeps its time.

    The status would say the same, but lead PostgreSQL to the index of everything that is pending.
    """
    cursor.execute(
        f"""
        SELECT {due_columns("CASE WHEN attempt_count > 0 THEN extract(epoch FROM next_attempt_at)::float8 END")}
        FROM delivery_delivery WHERE event_id = ANY(%b::text[]) AND finished_at IS NULL
        """,  # noqa: S608 - our own constants
        [list(event_ids)],
    )
    return [Due(*row) for row in cursor.fetchall()]
