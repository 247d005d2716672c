"""Checks events against the catalogue of event types: is the type known, does the data fit its schema?"""

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings

from delivery.database import storable
from delivery.errors import Unreadable
from delivery.ingest import Accepted
from delivery.messages import NewEvent
from delivery.routes import SubscriptionRouter
from delivery.routing import SEEN_TYPES_MAX
from partners.changes import Change, ChangeListener
from partners.errors import DataInvalid, SchemaError
from partners.event_schemas import EventSchema, compile_schema
from partners.models import EventType

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    is_catalogued: bool
    schema: EventSchema | None
    refuses: bool


class Catalogue:
    """Keeps event types in memory until they change, SEEN_TYPES_MAX at most. Thread-safe.

    `accept` reads PostgreSQL for a type that is not in memory, and each time for a type that has no row.
    """

    def __init__(self, unknown_types: str | None = None) -> None:
        self._unknown_types = unknown_types or settings.UNKNOWN_EVENT_TYPES
        self._entries: dict[str, _Entry] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def take_over(self, changes: Iterable[Change]) -> None:
        with self._lock:
            self._generation += 1
            for change in changes:
                if change.kind == "event_type":
                    self._entries.pop(change.id, None)
                elif change.kind == "everything":
                    self._entries.clear()

    def accept(self, event: NewEvent) -> Accepted:
        """The event, flagged if its data breaks the schema. Raises Unreadable for an event that must be refused."""
        entry = self._entries.get(event.type) or self._load(event.type)
        if not entry.is_catalogued and self._unknown_types == "refuse":
            raise Unreadable(f"the event type {event.type!r} is not in the catalogue")
        if entry.schema is None:
            return Accepted(event)
        try:
            entry.schema.check(event.data)
        except DataInvalid as error:
            if entry.refuses:
                raise Unreadable(f"the data breaks the schema of {event.type!r}: {error}") from None
            return Accepted(event, storable(str(error)[:1000]))
        return Accepted(event)

    def _load(self, name: str) -> _Entry:
        generation = self._generation
        row = EventType.objects.filter(pk=name).first()
        if row is None:
            if self._unknown_types == "deliver":  # a row that is not catalogued, for staff to find in the admin
                EventType.objects.bulk_create([EventType(name=name, is_catalogued=False)], ignore_conflicts=True)
            return _Entry(is_catalogued=False, schema=None, refuses=False)
        entry = _Entry(
            is_catalogued=row.is_catalogued,
            schema=_compiled(row),
            refuses=row.on_schema_error == EventType.OnSchemaError.REFUSE,
        )
        with self._lock:
            if generation == self._generation:
                if len(self._entries) >= SEEN_TYPES_MAX:
                    self._entries.pop(next(iter(self._entries)))
                self._entries[name] = entry
        return entry


def listener_for(router: SubscriptionRouter, catalogue: Catalogue) -> ChangeListener:
    """A listener that keeps both current. The caller starts it."""

    def take_over(changes: Sequence[Change]) -> None:
        router.take_over(changes)
        catalogue.take_over(changes)

    return ChangeListener(take_over)


def _compiled(row: EventType) -> EventSchema | None:
    """Schemas are checked when they are saved. One that no longer compiles is logged, and does not stop events."""
    try:
        return compile_schema(row.schema) if row.schema else None
    except SchemaError as error:
        logger.error("a schema does not compile", extra={"event_type": row.name, "error": str(error)})
        return None
