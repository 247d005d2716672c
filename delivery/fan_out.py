"""Makes the deliveries of events to a partner whose subscriptions take much work: many want an event, or filters are
slow.

The bridge handles one event after another, so it stores a FanOut instead and queues it in the partner's own queue. So
the work is done at the partner's turn, within its limits, and a backlog holds one row an event, not one for each
subscription. It is done in steps, each of which makes some deliveries of one or more events. The subscriptions are
those that are enabled at that time.

    load ─► evaluate the filters ─► store: unless another worker was faster ─► publish
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from delivery import publish
from delivery.clocks import database_now
from delivery.database import with_living_connection
from delivery.ingest import store_deliveries
from delivery.models import Event, FanOut
from delivery.routes import route_rows, routes_of
from delivery.routing import Route
from delivery.selection import Selection, select_some
from delivery.waits import rest
from partners.envelope import Envelope, rfc3339
from partners.models import Subscription
from partners.patterns import candidates

PAGE = 1_000
"""How many of a partner's subscriptions are read at a time."""
PAGE_KEPT_S = 1.0
"""For how long they are used, for events that came before: a change takes effect within a second."""
MOST_DELIVERIES = 100
MOST_STEPS = 20_000
"""About ten milliseconds; a single filter may take more."""


class _Page:
    """Some of a partner's subscriptions, in the order of their ids."""

    def __init__(self, routes: Sequence[Route], last: str | None, read_at: datetime) -> None:
        """`last`: the last of them; None if no more follow. `read_at`: by PostgreSQL's clock."""
        self.last = last
        self._routes = routes
        self._read_at = read_at
        self._expires_at = time.monotonic() + PAGE_KEPT_S
        self._matching: dict[str, Sequence[Route]] = {}

    @property
    def is_expired(self) -> bool:
        return time.monotonic() > self._expires_at

    def is_later_than(self, fan_out: FanOut) -> bool:
        """Whether it has all subscriptions that existed when the event came."""
        return self._read_at > fan_out.created_at

    def matching(self, event_type: str) -> Sequence[Route]:
        found = self._matching.get(event_type)
        if found is None:
            patterns = set(candidates(event_type))
            found = [route for route in self._routes if not patterns.isdisjoint(route.patterns)]
            self._matching[event_type] = found
        return found


def _read_page(partner_id: str, after: str) -> _Page:
    """The subscriptions that come after one. Raises django.db.Error."""
    now = database_now()
    following = Subscription.objects.filter(partner=partner_id, pk__gt=after)
    rows = list(route_rows(following).order_by("pk")[: PAGE + 1])
    return _Page(list(routes_of(rows[:PAGE])), rows[PAGE - 1][0] if len(rows) > PAGE else None, now)


@dataclass(frozen=True, slots=True)
class _Part:
    """A fan-out with its event, and the subscriptions that come next. Without an event, nothing is left to make."""

    fan_out: FanOut
    event: Event | None
    page: _Page


@dataclass(frozen=True, slots=True)
class _Step:
    """What was selected, and the last subscription that was looked at; None if that was all."""

    fan_out: FanOut
    selection: Selection
    after: str | None


def evaluate(parts: Iterable[_Part]) -> Iterator[_Step]:
    """Evaluates filters, until there are enough deliveries or enough work was done for one step."""
    deliveries, steps = MOST_DELIVERIES, MOST_STEPS
    for part in parts:
        if part.event is None:
            yield _Step(part.fan_out, Selection(), None)
            continue
        if deliveries <= 0 or steps <= 0:
            return
        event = part.event
        envelope = Envelope(event.pk, event.type, rfc3339(event.occurred_at), event.data.encode())
        routes = part.page.matching(event.type)
        selection, stopped_at, used = select_some(routes, envelope, deliveries, steps, rest)
        deliveries -= len(selection.wanted) + len(selection.failed)
        steps -= used
        yield _Step(part.fan_out, selection, part.page.last if stopped_at is None else stopped_at)


def store(steps: Sequence[_Step]) -> None:
    """Stores the deliveries and how far the fan-outs came, and queues the deliveries. Leaves out fan-outs that went on
    or ended elsewhere meanwhile. Raises django.db.Error."""
    with transaction.atomic():
        locked = FanOut.objects.select_for_update().filter(pk__in=[one.fan_out.pk for one in steps]).order_by("pk")
        reached = dict(locked.values_list("pk", "after"))
        own = [one for one in steps if reached.get(one.fan_out.pk) == one.fan_out.after]
        due = store_deliveries((one.fan_out.event_id, one.fan_out.event_type, one.selection) for one in own)
        FanOut.objects.filter(pk__in=[one.fan_out.pk for one in own if one.after is None]).delete()
        for one in own:
            if one.after is not None:
                FanOut.objects.filter(pk=one.fan_out.pk).update(after=one.after)
    publish.publish_or_leave(due, "fan_out")


Aside = Callable[..., Any]
"""Calls a function with arguments, where it may use the database; returns its result."""


class Maker:
    """Makes deliveries in steps. For one thread; only what `aside` calls may run in another, one at a time."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, str], _Page] = {}

    def make_some(self, fan_out_ids: Sequence[str], aside: Aside) -> dict[str, bool]:
        """Takes a step: makes the next deliveries of these fan-outs of one partner, the oldest first.

        Returns whether more are to be made, for each fan-out that it looked at; it may not get to the last ones. Raises
        django.db.Error. After a crash the same step is made again; while the broker is away, reconciliation queues the
        deliveries.
        """
        parts: list[_Part] = aside(self.load, fan_out_ids)
        steps = list(evaluate(parts))
        aside(store, steps)
        gone = set(fan_out_ids).difference(part.fan_out.pk for part in parts)
        return {**dict.fromkeys(gone, False), **{one.fan_out.pk: one.after is not None for one in steps}}

    def load(self, fan_out_ids: Sequence[str]) -> list[_Part]:
        """The fan-outs that still exist. Raises django.db.Error."""
        found = list(FanOut.objects.filter(pk__in=fan_out_ids).order_by("pk"))
        events = Event.objects.filter(expunged_at=None).in_bulk([one.event_id for one in found])
        self._pages = {key: page for key, page in self._pages.items() if not page.is_expired}
        return [_Part(one, events.get(one.event_id), self._page(one)) for one in reversed(found)][::-1]

    def _page(self, fan_out: FanOut) -> _Page:
        key = fan_out.partner_id, fan_out.after
        page = self._pages.get(key)
        if page is None or not page.is_later_than(fan_out):
            page = self._pages[key] = _read_page(*key)
        return page


def make_all(fan_out_id: str) -> None:
    """Takes all steps. Raises django.db.Error."""
    maker, has_more = Maker(), True
    while has_more:
        has_more = maker.make_some([fan_out_id], _here)[fan_out_id]


@with_living_connection
def _here(work: Callable[..., Any], *arguments: object) -> Any:
    return work(*arguments)
