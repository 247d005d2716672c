"""Makes the deliveries of an event to a partner whose subscriptions take much work: many match, or filters are slow.

The bridge handles one event after another, so it stores a FanOut instead and queues it as a task in the partner's own
queue. So the work is done at the partner's turn, within its limits, and a backlog holds one row an event, not one for
each subscription. It is done in steps, so that each is short. The subscriptions are those that are enabled at that
time, and existed when the event came.
"""

from collections.abc import Sequence

from django.db import transaction

from delivery import publish
from delivery.database import with_living_connection
from delivery.due import Due
from delivery.ingest import store_deliveries
from delivery.models import FanOut
from delivery.routes import Row, route_rows, routes_of
from delivery.selection import Rest, select_some
from partners.envelope import Envelope, rfc3339
from partners.models import Subscription
from partners.patterns import candidates

LOOK_AT = 250
"""How many subscriptions a step looks at."""
MOST_DELIVERIES = 100
MOST_STEPS = 20_000
"""About ten milliseconds; a single filter may take more."""


@with_living_connection
def fan_out(fan_out_id: str, rest: Rest) -> bool:
    """Makes the next deliveries, and queues them. Returns whether there may be more to make.

    `rest` is called from time to time. Raises django.db.Error. After a crash the same step is made again; while the
    broker is away, reconciliation queues the deliveries.
    """
    due, has_more = _make_deliveries(fan_out_id, rest)
    publish.publish_or_leave(due, "fan_out")
    return has_more


@transaction.atomic
def _make_deliveries(fan_out_id: str, rest: Rest) -> tuple[list[Due], bool]:
    locked = FanOut.objects.select_for_update(of=("self",)).select_related("event")
    found = locked.filter(pk=fan_out_id).first()
    if found is None:
        return [], False
    event = found.event
    if event.expunged_at is not None:
        found.delete()
        return [], False
    rows = _next_rows(found)
    envelope = Envelope(event.pk, event.type, rfc3339(event.occurred_at), event.data.encode())
    selection, stopped_at = select_some(routes_of(rows), envelope, MOST_DELIVERIES, MOST_STEPS, rest)
    due = store_deliveries(event.pk, event.type, selection)
    if stopped_at or len(rows) == LOOK_AT:
        found.after = stopped_at or rows[-1][0]
        found.save(update_fields=["after"])
        return due, True
    found.delete()
    return due, False


def _next_rows(of: FanOut) -> Sequence[Row]:
    """Those of the partner's subscriptions for the event that come next, in the order of their ids."""
    subscriptions = Subscription.objects.filter(
        partner=of.partner_id,
        pk__gt=of.after,
        created_at__lte=of.created_at,
        event_types__overlap=list(candidates(of.event_type)),
    )
    return list(route_rows(subscriptions).order_by("pk")[:LOOK_AT])
