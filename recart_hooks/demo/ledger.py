"""The smoke test's check of the tables."""

from delivery.models import Delivery
from recart_hooks.demo.partners import DESCRIPTION, PARTNERS
from recart_hooks.demo.shop import event_prefix


def unfinished_deliveries(run: str) -> list[str]:
    """A line for each delivery of this run's events to the demo's partners that has not succeeded.

    Subscriptions that somebody else added do not count.
    """
    mine = Delivery.objects.filter(
        event__id__startswith=event_prefix(run),
        subscription__description=DESCRIPTION,
        partner__name__in=[one.name for one in PARTNERS],
    ).exclude(status=Delivery.Status.SUCCEEDED)
    return [f"{one.id} of {one.event_id} is {one.status}, {one.last_error or 'not tried'}" for one in mine[:50]]
