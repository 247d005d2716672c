"""Stores a batch of events and their deliveries, and returns what to publish.

There is one row for each event id and one for each event and subscription, however often the same batch comes: unique
constraints decide, not this code. The caller publishes after the commit, and only then acknowledges its source. For an
event that was stored before, its unfinished deliveries are returned again, because they may not have been published
(the broker drops messages that it already holds).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from delivery.database import bulk_cursor
from delivery.due import Due, FanOutDue, Queued, due_columns
from delivery.messages import NewEvent
from delivery.routes import Router
from delivery.selection import Selection
from partners.identifiers import DELIVERY, FAN_OUT, new_id


@dataclass(frozen=True, slots=True)
class Ingested:
    """The result for a batch."""

    stored: frozenset[str]
    """The ids of the events that are new."""
    new: Sequence[Queued]
    """What to publish of these."""
    again: Sequence[Queued]
    """What to publish again, of events that were stored before."""
    ids: Sequence[str]
    """The id under which each event is stored, in the batch's order."""

    @property
    def queued(self) -> Sequence[Queued]:
        return [*self.new, *self.again]

    @property
    def due(self) -> Sequence[Due]:
        """The attempts among `new`."""
        return [one for one in self.new if isinstance(one, Due)]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event to be stored, and why its data breaks its schema, if it does (flagged, not refused)."""

    event: NewEvent
    schema_error: str = ""


def ingest(batch: Sequence[Accepted], router: Router) -> Ingested:
    """Routes and stores a batch, and returns after the commit.

    After django.db.Error all or nothing of the batch is stored; or, where CloudEvents of two sources share an id, only
    the first of them. The caller then calls it again with the batch, and stored events are duplicates.
    """
    with bulk_cursor() as cursor:
        stored, new = _store(cursor, batch, router)
        renamed = _of_another_source(cursor, batch, stored)
        if renamed:
            more, more_new = _store(cursor, list(renamed.values()), router)
            stored, new = stored | more, new + more_new
        ids = [renamed.get(index, one).event.id for index, one in enumerate(batch)]
        duplicates = frozenset(ids) - stored
        again = _unfinished(cursor, duplicates) if duplicates else []
    return Ingested(stored=stored, new=new, again=again, ids=ids)


_DELIVERIES = """
    INSERT INTO delivery_delivery (id, event_id, subscription_id, partner_id, event_type, attempt_count, created_at,
                                   last_error, status, next_attempt_at, finished_at)
    SELECT batch.id, event_id, subscription_id, partner_id, event_type, 0, now, fault,
           CASE WHEN fault = '' THEN 'pending' ELSE 'dead' END,
           CASE WHEN fault = '' THEN now END, CASE WHEN fault <> '' THEN now END
    FROM unnest(%(delivery_id)b::text[], %(event_id)b::text[], %(subscription_id)b::text[], %(partner_id)b::text[],
                %(event_type)b::text[], %(fault)b::text[])
         AS batch (id, event_id, subscription_id, partner_id, event_type, fault), (SELECT statement_timestamp() AS now)
"""
_STORE = f"""
WITH new AS (
    INSERT INTO delivery_event (id, type, source, occurred_at, received_at, data, schema_error, traceparent)
    SELECT id, type, source, occurred_at, statement_timestamp(), data, schema_error, traceparent
    FROM unnest(%(id)b::text[], %(type)b::text[], %(source)b::text[], %(occurred_at)b::timestamptz[], %(data)b::text[],
                %(schema_error)b::text[], %(traceparent)b::text[])
         AS batch (id, type, source, occurred_at, data, schema_error, traceparent)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), deliveries AS (
    {_DELIVERIES} WHERE (event_id IN (SELECT id FROM new)) IS TRUE
), fan_outs AS (
    INSERT INTO delivery_fanout (id, event_id, partner_id, event_type, created_at, after)
    SELECT id, event_id, partner_id, event_type, statement_timestamp(), ''
    FROM unnest(%(fan_out_id)b::text[], %(of_event_id)b::text[], %(to_partner_id)b::text[], %(of_event_type)b::text[])
         AS batch (id, event_id, partner_id, event_type)
    WHERE (event_id IN (SELECT id FROM new)) IS TRUE
)
SELECT id FROM new
"""  # noqa: S608 - our own constant
"""`IS TRUE` makes PostgreSQL look up new events in a hash table. Without it, this is a join, which compares each event
of the batch with each delivery, because hash joins are off on a connection that keeps its plans (delivery.database)."""


def _store(cursor: Any, batch: Sequence[Accepted], router: Router) -> tuple[frozenset[str], list[Queued]]:
    """Stores a batch; returns the ids of new events, and what to publish of them. One statement: one transaction, one
    round trip."""
    if not batch:
        return frozenset(), []
    deliveries: list[_NewDelivery] = []
    fan_outs: list[tuple[FanOutDue, str]] = []
    for event in _unique(one.event for one in batch):
        selection = router.route(event)
        deliveries += _deliveries(event.id, event.type, selection)
        fan_outs += [(FanOutDue(new_id(FAN_OUT), to, event.type), event.id) for to in sorted(selection.later)]
    cursor.execute(
        _STORE,
        {
            **_event_columns(batch),
            **_columns(deliveries),
            "fan_out_id": [due.fan_out_id for due, _ in fan_outs],
            "of_event_id": [event_id for _, event_id in fan_outs],
            "to_partner_id": [due.partner_id for due, _ in fan_outs],
            "of_event_type": [due.event_type for due, _ in fan_outs],
        },
    )
    stored = frozenset(row[0] for row in cursor.fetchall())
    queued: list[Queued] = [one.due for one in deliveries if one.event_id in stored and not one.fault]
    return stored, queued + [due for due, event_id in fan_outs if event_id in stored]


def _event_columns(batch: Sequence[Accepted]) -> Mapping[str, list[Any]]:
    """The values of new events, sorted by id: every process inserts in the same order, so that two batches with the
    same events do not wait for each other."""
    ordered = sorted(batch, key=lambda one: one.event.id)
    events = [one.event for one in ordered]
    return {
        "id": [event.id for event in events],
        "type": [event.type for event in events],
        "source": [event.source for event in events],
        "occurred_at": [event.occurred_at for event in events],
        "data": [event.data.decode() for event in events],
        "schema_error": [one.schema_error for one in ordered],
        "traceparent": [event.traceparent for event in events],
    }


def store_deliveries(selections: Iterable[tuple[str, str, Selection]]) -> list[Due]:
    """Stores deliveries of events that are stored already, given by id, type and selection, in the open transaction.
    Leaves out those that exist; returns the attempts to publish."""
    deliveries = [one for of_event in selections for one in _deliveries(*of_event)]
    if not deliveries:
        return []
    with bulk_cursor() as cursor:
        cursor.execute(f"{_DELIVERIES} ON CONFLICT DO NOTHING RETURNING id", _columns(deliveries))
        stored = {row[0] for row in cursor.fetchall()}
    return [one.due for one in deliveries if one.due.delivery_id in stored and not one.fault]


def _of_another_source(cursor: Any, batch: Sequence[Accepted], stored: frozenset[str]) -> dict[int, Accepted]:
    """The events, by their index, whose id belongs to an event of another CloudEvents source, with a new id."""
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
    """The indexes of events whose id belongs to an earlier event of the batch, from another source."""
    first: dict[str, str] = {}
    places = []
    for index, one in enumerate(batch):
        taken_by = first.setdefault(one.event.id, one.event.source)
        if one.event.id in stored and one.event.source and taken_by != one.event.source:
            places.append(index)
    return places


def _id_with_source(event: NewEvent) -> str:
    """CloudEvents are unique by source and id. Where two sources use the same id, the later event gets this one."""
    return f"{event.id}~{hashlib.sha256(event.source.encode()).hexdigest()[:16]}"


def _unique(events: Iterable[NewEvent]) -> list[NewEvent]:
    return list({event.id: event for event in reversed(list(events))}.values())[::-1]


@dataclass(frozen=True, slots=True)
class _NewDelivery:
    due: Due
    event_id: str
    subscription_id: str
    fault: str = ""
    """Why it is stored as dead: its filter failed for the event."""


def _deliveries(event_id: str, event_type: str, selection: Selection) -> list[_NewDelivery]:
    made = []
    for route in selection.wanted:
        due = Due(new_id(DELIVERY), 1, route.partner_id, event_type)
        made.append(_NewDelivery(due, event_id, route.subscription_id))
    for route, error in selection.failed:
        due = Due(new_id(DELIVERY), 1, route.partner_id, event_type)
        made.append(_NewDelivery(due, event_id, route.subscription_id, f"filter: {error}"[:500]))
    return made


def _columns(deliveries: Sequence[_NewDelivery]) -> Mapping[str, list[str]]:
    """The values of _DELIVERIES."""
    return {
        "delivery_id": [one.due.delivery_id for one in deliveries],
        "event_id": [one.event_id for one in deliveries],
        "subscription_id": [one.subscription_id for one in deliveries],
        "partner_id": [one.due.partner_id for one in deliveries],
        "event_type": [one.due.event_type for one in deliveries],
        "fault": [one.fault for one in deliveries],
    }


def _unfinished(cursor: Any, event_ids: frozenset[str]) -> list[Queued]:
    """What is unfinished of events that were stored before; a scheduled retry keeps its time.

    A condition on the status would be equivalent, but PostgreSQL would use the index of all pending deliveries.
    """
    cursor.execute(
        f"""
        SELECT {due_columns("CASE WHEN attempt_count > 0 THEN extract(epoch FROM next_attempt_at)::float8 END")}
        FROM delivery_delivery WHERE event_id = ANY(%b::text[]) AND finished_at IS NULL
        """,  # noqa: S608 - our own constants
        [list(event_ids)],
    )
    queued: list[Queued] = [Due(*row) for row in cursor.fetchall()]
    cursor.execute(
        "SELECT id, partner_id, event_type FROM delivery_fanout WHERE event_id = ANY(%b::text[])", [list(event_ids)]
    )
    return queued + [FanOutDue(*row) for row in cursor.fetchall()]
