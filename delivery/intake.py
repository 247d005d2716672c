"""Stores events from API requests by the same steps as the bridge: catalogue, one transaction, then publish.

There is one intake in each web process, created when the first event comes. A caller may change a subscription and
publish at once, before the change was announced: so recent changes are looked up before routing. While Valkey is away,
events are stored; reconciliation queues their deliveries.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.db import OperationalError
from django.utils import timezone

from delivery import publish
from delivery.catalogue import Catalogue, listener_for
from delivery.due import Queued
from delivery.errors import Unreadable
from delivery.ingest import Accepted, ingest
from delivery.messages import NewEvent
from delivery.routes import SubscriptionRouter
from partners.models import Subscription

_RECENT = timedelta(seconds=15)
"""Longer than an announcement takes, than a listener needs to notice a dead connection, and than the clocks of two
hosts differ."""
_START_S = 5.0


@dataclass(frozen=True, slots=True)
class Taken:
    """The result for one event."""

    id: str
    status: Literal["stored", "duplicate", "refused"]
    detail: str = ""


class Intake:
    """Thread-safe. `send` publishes. The creator keeps the router and the catalogue current."""

    def __init__(
        self,
        router: SubscriptionRouter,
        catalogue: Catalogue,
        send: Callable[[Sequence[Queued]], int] = publish.publish_briefly,
    ) -> None:
        self._router = router
        self._catalogue = catalogue
        self._send = send
        self._taken_over: dict[str, datetime] = {}
        """The recent changes that the router has: subscription ids with their `updated_at`."""

    def take(self, events: Sequence[NewEvent]) -> list[Taken]:
        """Stores the events that are not refused. After django.db.Error the caller must publish them again."""
        answers: dict[int, Taken] = {}
        accepted: list[Accepted] = []
        places: list[int] = []
        for place, event in enumerate(events):
            try:
                accepted.append(self._catalogue.accept(event))
                places.append(place)
            except Unreadable as error:
                answers[place] = Taken(event.id, "refused", str(error))
        if accepted:
            self._take_over_recent()
            answers.update(zip(places, self._store(accepted), strict=True))
        return [answers[place] for place in range(len(events))]

    def _store(self, accepted: Sequence[Accepted]) -> list[Taken]:
        done = ingest(accepted, self._router)
        publish.publish_or_leave(done.queued, "intake", self._send)
        fresh = set(done.stored)
        answers = []
        for event_id in done.ids:
            answers.append(Taken(event_id, "stored" if event_id in fresh else "duplicate"))
            fresh.discard(event_id)  # another event of this batch with the same id is a duplicate of this one
        return answers

    def _take_over_recent(self) -> None:
        recent = Subscription.objects.filter(updated_at__gt=timezone.now() - _RECENT)
        changed = dict(recent.values_list("pk", "updated_at"))
        if missed := [pk for pk, at in changed.items() if self._taken_over.get(pk) != at]:
            self._router.reload(missed)
        self._taken_over = changed


class _Running:
    """An intake with its listener."""

    def __init__(self) -> None:
        router, catalogue = SubscriptionRouter(), Catalogue()
        self.intake = Intake(router, catalogue)
        self.listener = listener_for(router, catalogue)
        self.listener.start()


_lock = threading.Lock()
_running: _Running | None = None


def intake() -> Intake:
    """The process' intake. Raises OperationalError while the subscriptions are not loaded."""
    global _running  # noqa: PLW0603 - there is one per process
    with _lock:
        if _running is None:
            _running = _Running()
        running = _running
    if not running.listener.connected.wait(_START_S):
        raise OperationalError("the subscriptions are not loaded yet")
    return running.intake


def stop_intake() -> None:
    """Stops the intake's listener; the next call of `intake` creates a new intake."""
    global _running
    with _lock:
        running, _running = _running, None
    if running is not None:
        running.listener.stop()
