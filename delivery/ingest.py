"""Stores events and their deliveries, one transaction per batch, and says what is to be published.

Exactly one row per event id and one per (event, subscription), however often the same batch comes: unique constraints
decide, not this code. The caller publishes after the commit and only then acknowledges its source; an event that is
stored already yields its unfinished deliveries again, because nobody knows whether they were published (the broker
drops those that it knows).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from delivery.database import bulk_cursor
from delivery.due import Due
from delivery.messages import NewEvent
from delivery.routes import Router
from delivery.routing import Selection
from partners.identifiers import DELIVERY, new_id


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a batch."""

    stored: frozenset[str]
    """Ids of events that are new."""
    duplicates: frozenset[str]
    """Ids of events that were stored already."""
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
    """Routes and stores a batch. Raises django.db.Error with nothing stored."""
    now = datetime.now(UTC)
    with transaction.atomic(durable=True), bulk_cursor() as cursor:
        stored, ids = _store_events(cursor, batch, now)
        fresh = [
            replace(one.event, id=event_id) for one, event_id in zip(batch, ids, strict=True) if event_id in stored
        ]
        due = _store_deliveries(cursor, _unique(fresh), router, now)
        duplicates = frozenset(ids) - stored
        if duplicates:
            due += _unfinished(cursor, duplicates)
    return Ingested(stored=stored, duplicates=duplicates, due=due, ids=ids)


def _store_events(cursor: Any, batch: Sequence[Accepted], now: datetime) -> tuple[frozenset[str], list[str]]:
    """Inserts what is new. Returns the ids that are new, and the id of each event of the batch."""
    stored = _insert_events(cursor, batch, now)
    ids = [one.event.id for one in batch]
    again = [index for index, one in enumerate(batch) if one.event.source and one.event.id not in stored]
    again += _clashing_within(batch, stored)
    if not again:
        return stored, ids
    others = _of_another_source(cursor, batch, again)
    renamed = [
        replace(batch[index], event=replace(batch[index].event, id=_id_with_source(batch[index].event)))
        for index in others
    ]
    for index, one in zip(others, renamed, strict=True):
        ids[index] = one.event.id
    return stored | _insert_events(cursor, renamed, now), ids


def _insert_events(cursor: Any, batch: Sequence[Accepted], now: datetime) -> frozenset[str]:
    if not batch:
        return frozenset()
    events = [one.event for one in batch]
    cursor.execute(
        """
        INSERT INTO delivery_event (id, type, source, occurred_at, received_at, data, schema_error, traceparent)
        SELECT id, type, source, occurred_at, %s::timestamptz, data, schema_error, traceparent
        FROM unnest(%b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[], %b::text[], %b::text[])
             AS batch (id, type, source, occurred_at, data, schema_error, traceparent)
        ON CONFLICT (id) DO NOTHING
        RETURNING id
        """,
        [
            now,
            [event.id for event in events],
            [event.type for event in events],
            [event.source for event in events],
            [event.occurred_at for event in events],
            [event.data.decode() for event in events],
            [one.schema_error for one in batch],
            [event.traceparent for event in events],
        ],
    )
    return frozenset(row[0] for row in cursor.fetchall())


def _clashing_within(batch: Sequence[Accepted], stored: frozenset[str]) -> list[int]:
    """Places of events whose id was taken by an event of another source in the same batch."""
    first: dict[str, str] = {}
    places = []
    for index, one in enumerate(batch):
        taken_by = first.setdefault(one.event.id, one.event.source)
        if one.event.id in stored and one.event.source and taken_by != one.event.source:
            places.append(index)
    return places


def _of_another_source(cursor: Any, batch: Sequence[Accepted], places: Sequence[int]) -> list[int]:
    """Those places whose id is stored for an event of another CloudEvents source: a different event."""
    taken = [batch[index].event.id for index in places]
    cursor.execute("SELECT id, source FROM delivery_event WHERE id = ANY(%b::text[])", [taken])
    sources = dict(cursor.fetchall())
    return [index for index in places if sources.get(batch[index].event.id) != batch[index].event.source]


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


def _store_deliveries(cursor: Any, events: Sequence[NewEvent], router: Router, now: datetime) -> list[Due]:
    new = [delivery for event in events for delivery in _deliveries(event, router.route(event))]
    if new:
        cursor.execute(
            """
            INSERT INTO delivery_delivery
                   (id, event_id, subscription_id, partner_id, event_type, attempt_count, created_at, last_error,
                    status, next_attempt_at, finished_at)
            SELECT id, event_id, subscription_id, partner_id, event_type, 0, now, fault,
                   CASE WHEN fault = '' THEN 'pending' ELSE 'dead' END,
                   CASE WHEN fault = '' THEN now END, CASE WHEN fault <> '' THEN now END
            FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[])
                 AS batch (id, event_id, subscription_id, partner_id, event_type, fault),
                 (SELECT %s::timestamptz AS now)
            """,
            [
                [one.due.delivery_id for one in new],
                [one.event_id for one in new],
                [one.subscription_id for one in new],
                [one.due.partner_id for one in new],
                [one.due.event_type for one in new],
                [one.fault for one in new],
                now,
            ],
        )
    return [one.due for one in new if not one.fault]


def _deliveries(event: NewEvent, selection: Selection) -> Iterator[_NewDelivery]:
    for route in selection.wanted:
        due = Due(new_id(DELIVERY), 1, route.partner_id, event.type)
        yield _NewDelivery(due, event.id, route.subscription_id)
    for route, error in selection.failed:
        due = Due(new_id(DELIVERY), 1, route.partner_id, event.type)
        yield _NewDelivery(due, event.id, route.subscription_id, f"filter: {error}"[:500])


def _unfinished(cursor: Any, event_ids: frozenset[str]) -> list[Due]:
    """Unfinished deliveries of events that were stored before; a scheduled retry keeps its time."""
    cursor.execute(
        """
        SELECT id, attempt_count + 1, partner_id, event_type,
               CASE WHEN attempt_count > 0 THEN extract(epoch FROM next_attempt_at)::float8 END
        FROM delivery_delivery WHERE event_id = ANY(%b::text[]) AND status = 'pending'
        """,
        [list(event_ids)],
    )
    return [Due(*row) for row in cursor.fetchall()]
