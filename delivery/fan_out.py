"""Makes the deliveries of events to a partner whose subscriptions take much work: many want an event, or filters are
slow.

The bridge handles one event after another, so it stores a FanOut instead and queues it in the partner's own queue. So
the work is done at the partner's turn, within its limits, and a backlog holds one row an event, not one for each
subscription. It is done in steps, each of which makes some deliveries of one or more events. The subscriptions are
those that are enabled at that time.

    load ─► evaluate the filters ─► store: unless another worker was faster ─► publish
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import transaction

from delivery import publish
from delivery.database import with_living_connection
from delivery.ingest import store_deliveries
from delivery.models import Event, FanOut
from delivery.routes import enabled, routes_of
from delivery.routing import Route
from delivery.selection import Selection, select_some
from delivery.waits import rest
from partners.envelope import Envelope, rfc3339
from partners.models import Subscription
from partners.patterns import candidates

LOOK_AT = 1_000
"""How many subscriptions a step looks at for an event."""
MOST_DELIVERIES = 100
MOST_STEPS = 20_000
"""About ten milliseconds; a single filter may take more."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A fan-out with its event, and the subscriptions that come next. Without an event, nothing is left to make."""

    fan_out: FanOut
    event: Event | None
    routes: Sequence[Route]
    last: str | None
    """The last subscription; None if no more follow."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What was selected, and the last subscription that was looked at; None if that was all."""

    fan_out: FanOut
    selection: Selection
    after: str | None


def load(fan_out_ids: Sequence[str]) -> list[_Part]:
    """The fan-outs of one partner that still exist. Raises django.db.Error."""
    found = list(FanOut.objects.filter(pk__in=fan_out_ids).order_by("pk"))
    events = Event.objects.filter(expunged_at=None).in_bulk([one.event_id for one in found])
    routes = lru_cache(_next_routes)
    return [_Part(one, events.get(one.event_id), *routes(one.partner_id, one.event_type, one.after)) for one in found]


def _next_routes(partner_id: str, event_type: str, after: str) -> tuple[Sequence[Route], str | None]:
    """The partner's subscriptions for an event type that come after one, in the order of their ids; and the last of
    them, if there are more. Their patterns are left out."""
    patterns = list(candidates(event_type))
    matching = Subscription.objects.filter(partner=partner_id, pk__gt=after, event_types__overlap=patterns)
    rows = list(enabled(matching).order_by("pk").values_list("pk", "filter")[: LOOK_AT + 1])
    page, more = rows[:LOOK_AT], rows[LOOK_AT:]
    return list(routes_of((pk, partner_id, (), filter_) for pk, filter_ in page)), page[-1][0] if more else None


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
        selection, stopped_at, used = select_some(part.routes, envelope, deliveries, steps, rest)
        deliveries -= len(selection.wanted) + len(selection.failed)
        steps -= used
        yield _Step(part.fan_out, selection, part.last if stopped_at is None else stopped_at)


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


def make_some(fan_out_ids: Sequence[str], aside: Aside) -> dict[str, bool]:
    """Takes a step: makes the next deliveries of these fan-outs of one partner, the oldest first.

    Returns whether more are to be made, for each fan-out that it looked at; it may not get to the last ones. Raises
    django.db.Error. After a crash the same step is made again; while the broker is away, reconciliation queues the
    deliveries.
    """
    parts: list[_Part] = aside(load, fan_out_ids)
    steps = list(evaluate(parts))
    aside(store, steps)
    gone = set(fan_out_ids).difference(part.fan_out.pk for part in parts)
    return {**dict.fromkeys(gone, False), **{one.fan_out.pk: one.after is not None for one in steps}}


def make_all(fan_out_id: str) -> None:
    """Takes all steps. Raises django.db.Error."""
    while make_some([fan_out_id], with_living_connection(lambda work, *arguments: work(*arguments)))[fan_out_id]:
        pass
