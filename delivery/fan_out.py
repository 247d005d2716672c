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

from django.db import connection, transaction

from delivery import publish
from delivery.clocks import database_now
from delivery.database import with_living_connection
from delivery.ingest import store_deliveries
from delivery.models import Event, FanOut
from delivery.routes import enabled
from delivery.routing import Route
from delivery.selection import Selection, select_some
from delivery.waits import rest
from partners.envelope import Envelope, rfc3339
from partners.errors import InvalidInput
from partners.filters import compile_filter
from partners.models import Subscription
from partners.patterns import candidates

LOCK_WAIT_MS = 100
PAGE = 1_000
"""How many of a partner's subscriptions are read at a time."""
PAGE_KEPT_S = 1.0
"""For how long they are used, for events that came before: a change takes effect within a second."""
MOST_DELIVERIES = 100
LONGEST_S = 0.02
"""The limits of a step. It may take longer for a single filter, or while other tasks have their turns."""


Row = tuple[str, Sequence[str], str]
"""A subscription's id, its event type patterns and its filter."""


class _Page:
    """Some of a partner's subscriptions, in the order of their ids."""

    def __init__(self, rows: Sequence[Row], last: str | None, read_at: datetime, before: "_Page | None") -> None:
        """`last`: the last of them; None if no more follow. `read_at`: by PostgreSQL's clock. `before`: how the page
        was, for what is compiled already."""
        self.last = last
        self._rows = rows
        self._read_at = read_at
        self._expires_at = time.monotonic() + PAGE_KEPT_S
        self._matching: dict[str, Sequence[Row]] = {}
        self._compiled: dict[tuple[str, str], Route] = (
            before._compiled if before and len(before._compiled) <= 2 * PAGE else {}
        )

    @property
    def is_expired(self) -> bool:
        return time.monotonic() > self._expires_at

    def is_later_than(self, fan_out: FanOut) -> bool:
        """Whether it has all subscriptions that existed when the event came."""
        return self._read_at > fan_out.created_at

    def routes(self, partner_id: str, event_type: str) -> Iterator[Route]:
        """Those that match, without their patterns. Each filter is compiled when its turn comes; one that does not
        compile any more is left out."""
        found = self._matching.get(event_type)
        if found is None:
            patterns = set(candidates(event_type))
            found = self._matching[event_type] = [row for row in self._rows if not patterns.isdisjoint(row[1])]
        for subscription_id, _, filter_ in found:
            route = self._compiled.get((subscription_id, filter_))
            if route is None:
                try:
                    compiled = compile_filter(filter_) if filter_ else None
                except InvalidInput:
                    continue
                route = Route(subscription_id, partner_id, (), compiled)
                self._compiled[subscription_id, filter_] = route
            yield route


def _read_page(partner_id: str, after: str, before: _Page | None) -> _Page:
    """The subscriptions that come after one. Raises django.db.Error."""
    now = database_now()
    following = enabled(Subscription.objects.filter(partner=partner_id, pk__gt=after)).order_by("pk")
    rows = list(following.values_list("pk", "event_types", "filter")[: PAGE + 1])
    return _Page(rows[:PAGE], rows[PAGE - 1][0] if len(rows) > PAGE else None, now, before)


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


def evaluate(parts: Iterable[_Part], longest_s: float) -> Iterator[_Step]:
    """Evaluates filters until a limit of the step is reached, at least that of one subscription."""
    deliveries, ends = MOST_DELIVERIES, time.monotonic() + longest_s

    def is_over() -> bool:
        return time.monotonic() > ends

    for number, part in enumerate(parts):
        if part.event is None:
            yield _Step(part.fan_out, Selection(), None)
            continue
        if deliveries <= 0 or (number and is_over()):
            return
        rest()
        event, partner_id = part.event, part.fan_out.partner_id
        envelope = Envelope(event.pk, event.type, rfc3339(event.occurred_at), event.data.encode())
        routes = part.page.routes(partner_id, event.type)
        selection, stopped_at = select_some(routes, envelope, deliveries, is_over, rest)
        deliveries -= len(selection.wanted) + len(selection.failed)
        yield _Step(part.fan_out, selection, part.page.last if stopped_at is None else stopped_at)


def store(steps: Sequence[_Step]) -> set[str]:
    """Stores the deliveries and how far the fan-outs came, and queues the deliveries.

    Returns the ids of these fan-outs. Leaves out those that another transaction holds, or that went on elsewhere
    meanwhile. Raises django.db.Error, also if a delivery is locked for long.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")  # other partners wait for the thread
        rows = FanOut.objects.select_for_update(skip_locked=True).filter(pk__in=[one.fan_out.pk for one in steps])
        reached = dict(rows.order_by("pk").values_list("pk", "after"))
        own = [one for one in steps if reached.get(one.fan_out.pk) == one.fan_out.after]
        due = store_deliveries((one.fan_out.event_id, one.fan_out.event_type, one.selection) for one in own)
        FanOut.objects.filter(pk__in=[one.fan_out.pk for one in own if one.after is None]).delete()
        for one in own:
            if one.after is not None:
                FanOut.objects.filter(pk=one.fan_out.pk).update(after=one.after)
    publish.publish_or_leave(due, "fan_out")
    return {one.fan_out.pk for one in own}


Aside = Callable[..., Any]
"""Calls a function with arguments, where it may use the database; returns its result."""


class Maker:
    """Makes deliveries in steps. For one thread; only what `aside` calls may run in another, one at a time."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._pages: dict[tuple[str, str], _Page] = {}

    def make_some(self, fan_out_ids: Sequence[str], aside: Aside) -> dict[str, bool]:
        """Takes a step: makes the next deliveries of these fan-outs of one partner, the oldest first.

        Returns whether more are to be made, for each fan-out that it looked at; it may not get to the last ones. Raises
        django.db.Error. After a crash the same step is made again; while the broker is away, reconciliation queues the
        deliveries.
        """
        parts: list[_Part] = aside(self.load, fan_out_ids)
        steps = list(evaluate(parts, self._longest_s))
        stored = aside(store, steps)
        gone = set(fan_out_ids).difference(part.fan_out.pk for part in parts)
        has_more = {one.fan_out.pk: one.after is not None or one.fan_out.pk not in stored for one in steps}
        return {**dict.fromkeys(gone, False), **has_more}

    def load(self, fan_out_ids: Sequence[str]) -> list[_Part]:
        """The fan-outs that still exist. Raises django.db.Error."""
        found = list(FanOut.objects.filter(pk__in=fan_out_ids).order_by("pk"))
        events = Event.objects.filter(expunged_at=None).in_bulk([one.event_id for one in found])
        self._pages = {key: page for key, page in self._pages.items() if not page.is_expired}
        pages = [self._page(one) for one in reversed(found)][::-1]  # that of the newest serves all
        return [_Part(one, events.get(one.event_id), page) for one, page in zip(found, pages, strict=True)]

    def _page(self, fan_out: FanOut) -> _Page:
        key = fan_out.partner_id, fan_out.after
        page = self._pages.get(key)
        if page is None or not page.is_later_than(fan_out):
            page = self._pages[key] = _read_page(*key, page)
        return page


def make_all(fan_out_id: str) -> None:
    """Takes all steps. Raises django.db.Error."""
    maker, has_more = Maker(), True
    while has_more:
        has_more = maker.make_some([fan_out_id], _here)[fan_out_id]


@with_living_connection
def _here(work: Callable[..., Any], *arguments: object) -> Any:
    return work(*arguments)
