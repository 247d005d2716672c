"""One real, signed request to an endpoint now, whose outcome goes to who asked and not into the log.

It holds a thread of the web process for as long as the endpoint takes, so there is one for each partner at a time, and
never more than a quarter of the threads.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from django.conf import settings
from django.utils import timezone

from delivery.endpoints import Endpoint, load_endpoints
from delivery.jobs import Job
from delivery.outcomes import ErrorClass, Outcome, failed
from delivery.prepare import USER_AGENT, prepare
from delivery.senders import configured_sender
from delivery.sending import Request, Sender
from partners.errors import TransformError
from partners.identifiers import EVENT, new_id
from partners.models import Subscription
from partners.places import Places

LONGEST_S = 10.0
"""Also where the subscription's own timeout is longer."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was sent, and what came of it. `request` is None when the event can't be transformed."""

    event_id: str
    request: Request | None
    outcome: Outcome


shared_places = Places(max(1, settings.WEB_THREADS // 4))
"""This process' ones."""


def try_now(subscription: Subscription, event_type: str, data: str, sender: Sender | None = None) -> Tried:
    """Sends `data` (JSON) as an event of this type; to a disabled subscription as well, its filter is not asked.

    Raises Busy.
    """
    return send_now(load_endpoints([subscription.pk])[subscription.pk], event_type, data, sender)


def send_now(endpoint: Endpoint, event_type: str, data: str, sender: Sender | None = None) -> Tried:
    """Raises Busy."""
    now = timezone.now()
    job = Job.unsaved(new_id(EVENT), event_type, now, data, endpoint)
    try:
        request = prepare(job, now, USER_AGENT, settings.DELIVERY_CONNECT_TIMEOUT_S)
    except TransformError as error:
        return Tried(job.event_id, None, failed(ErrorClass.TRANSFORM, str(error)))
    request = replace(request, timeout_s=min(request.timeout_s, LONGEST_S))
    with shared_places.taken(endpoint.partner_id):
        return Tried(job.event_id, request, (sender or shared_sender()).send(request))


@lru_cache(maxsize=1)
def shared_sender() -> Sender:
    """This process' one."""
    return configured_sender()
