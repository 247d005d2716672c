"""Keeps the routing index equal to the subscriptions in PostgreSQL, in every process that stores events.

The index is loaded at the start and after every reconnection of the change listener; then each announced change
reloads its subscription, together with those that were announced at the same time.
"""

import logging
import threading
from collections.abc import Collection, Iterator
from typing import Protocol

from django.db.models import QuerySet

from delivery.messages import NewEvent
from delivery.routing import Route, RoutingIndex
from delivery.selection import Selection, select
from partners.changes import Change
from partners.errors import InvalidInput
from partners.filters import compile_filter
from partners.models import Subscription

logger = logging.getLogger(__name__)


class Router(Protocol):
    """Selects the subscriptions that get an event, those whose filter failed, and partners that get it later."""

    def route(self, event: NewEvent) -> Selection: ...


class SubscriptionRouter:
    """A Router over all enabled subscriptions. `take_over` keeps it current. Thread-safe."""

    def __init__(self) -> None:
        self._index = RoutingIndex()
        self._lock = threading.Lock()
        """Held from reading rows to changing the index, so that an older read never overwrites a newer one."""

    def load(self) -> None:
        """Loads all subscriptions. Raises django.db.Error."""
        with self._lock:
            self._index.replace_all(load_routes(Subscription.objects.all()))

    def take_over(self, changes: Collection[Change]) -> None:
        if any(change.kind == "everything" for change in changes):
            self.load()
        elif changed := [change.id for change in changes if change.kind == "subscription"]:
            self.reload(changed)

    def reload(self, subscription_ids: Collection[str]) -> None:
        """Loads these subscriptions again, in one query. Raises django.db.Error."""
        with self._lock:
            found = {
                one.subscription_id: one for one in load_routes(Subscription.objects.filter(pk__in=subscription_ids))
            }
            for subscription_id in subscription_ids:
                if subscription_id in found:
                    self._index.put(found[subscription_id])
                else:
                    self._index.remove(subscription_id)

    def route(self, event: NewEvent) -> Selection:
        return select(self._index.matching(event.type), lambda: event.envelope)


def load_routes(subscriptions: QuerySet[Subscription]) -> Iterator[Route]:
    """A route for each enabled subscription. One whose filter does not compile any more is left out, with a log
    message."""
    rows = enabled(subscriptions).values_list("id", "partner_id", "event_types", "filter")
    for subscription_id, partner_id, event_types, filter_ in rows.iterator(chunk_size=5000):
        try:
            compiled = compile_filter(filter_) if filter_ else None
        except InvalidInput as error:
            logger.error("unusable filter", extra={"subscription_id": subscription_id, "error": str(error)})
        else:
            yield Route(subscription_id, partner_id, tuple(event_types), compiled)


def enabled(subscriptions: QuerySet[Subscription]) -> QuerySet[Subscription]:
    """Those that get events."""
    return subscriptions.filter(is_enabled=True, deleted_at=None, is_operational=False)
