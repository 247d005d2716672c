"""Sends one signed test request to an endpoint and returns its outcome. It is not recorded in the delivery log.

The request occupies a thread of the web process for as long as the endpoint takes. So each partner may have one at a
time, and all partners together a quarter of the threads.
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
from partners.errors import SecretError, TransformError
from partners.identifiers import EVENT, new_id
from partners.models import Subscription
from partners.places import Places

LONGEST_S = 10.0
"""The timeout of a request, even if the subscription's own is longer."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A request and its outcome. `request` is None if it could not be made."""

    event_id: str
    request: Request | None
    outcome: Outcome


shared_places = Places(max(1, settings.WEB_THREADS // 4))
"""Of this process."""


def try_now(subscription: Subscription, event_type: str, data: str) -> Tried:
    """Sends `data` (JSON) as an event of this type, also if the subscription is disabled or its filter does not match.

    Raises partners.places.Busy.
    """
    return send_now(load_endpoints([subscription.pk])[subscription.pk], event_type, data)


def send_now(endpoint: Endpoint, event_type: str, data: str, sender: Sender | None = None) -> Tried:
    """Raises partners.places.Busy."""
    now = timezone.now()
    job = Job.unsaved(new_id(EVENT), event_type, now, data, endpoint)
    try:
        request = prepare(job, now, USER_AGENT, settings.DELIVERY_CONNECT_TIMEOUT_S)
    except TransformError as error:
        return Tried(job.event_id, None, failed(ErrorClass.TRANSFORM, str(error)))
    except SecretError as error:
        return Tried(job.event_id, None, failed(ErrorClass.INTERNAL, str(error)))
    request = replace(request, timeout_s=min(request.timeout_s, LONGEST_S))
    with shared_places.taken(endpoint.partner_id):
        return Tried(job.event_id, request, (sender or shared_sender()).send(request))


@lru_cache(maxsize=1)
def shared_sender() -> Sender:
    """The sender of this process."""
    return configured_sender()
