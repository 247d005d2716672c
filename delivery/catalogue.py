"""Holds events against the catalogue of event types: unknown types, schemas. Kept in memory, dropped on changes."""

import threading
from dataclasses import dataclass

from django.conf import settings

from delivery.errors import Unreadable
from delivery.ingest import Accepted
from delivery.messages import NewEvent
from partners.changes import Change
from partners.models import EventType


@dataclass(frozen=True, slots=True)
class _Entry:
    is_catalogued: bool
    refuses: bool


class Catalogue:
    """Thread-safe. `accept` reads PostgreSQL only for a type that it has not met since the last change."""

    def __init__(self, unknown_types: str | None = None) -> None:
        self._unknown_types = unknown_types or settings.UNKNOWN_EVENT_TYPES
        self._entries: dict[str, _Entry] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def take_over(self, change: Change) -> None:
        with self._lock:
            self._generation += 1
            if change.kind == "event_type":
                self._entries.pop(change.id, None)
            elif change.kind == "everything":
                self._entries.clear()

    def accept(self, event: NewEvent) -> Accepted:
        """The event with what is wrong about it by its schema; raises Unreadable when that is to be refused."""
        entry = self._entries.get(event.type) or self._load(event.type)
        if not entry.is_catalogued and self._unknown_types == "refuse":
            raise Unreadable(f"the event type {event.type!r} is not in the catalogue")
        return Accepted(event)

    def _load(self, name: str) -> _Entry:
        generation = self._generation
        row = EventType.objects.filter(pk=name).first()
        if row is None:
            if self._unknown_types == "deliver":  # seen, not catalogued: staff find it in the admin
                EventType.objects.bulk_create([EventType(name=name, is_catalogued=False)], ignore_conflicts=True)
            return _Entry(is_catalogued=False, refuses=False)
        entry = _Entry(
            is_catalogued=row.is_catalogued,
            refuses=row.on_schema_error == EventType.OnSchemaError.REFUSE,
        )
        with self._lock:
            if generation == self._generation:
                self._entries[name] = entry
        return entry
