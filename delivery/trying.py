"""One real, signed request to an endpoint now, whose outcome goes to who asked and not into the log."""

from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.utils import timezone

from delivery.endpoints import Endpoint, load_endpoints
from delivery.jobs import PENDING, Job
from delivery.outcomes import ErrorClass, Outcome, failed
from delivery.prepare import prepare
from delivery.sending import Request, Sender
from delivery.worker import configured_sender
from partners.errors import TransformError
from partners.identifiers import EVENT, new_id
from partners.models import Subscription


@dataclass(frozen=True, slots=True)
class Tried:
    """What was sent, and what came of it. `request` is None when the event can't be transformed."""

    event_id: str
    request: Request | None
    outcome: Outcome


def try_now(subscription: Subscription, event_type: str, data: str, sender: Sender | None = None) -> Tried:
    """Sends `data` (JSON) as an event of this type; to a disabled subscription as well, its filter is not asked."""
    return send_now(load_endpoints([subscription.pk])[subscription.pk], event_type, data, sender)


def send_now(endpoint: Endpoint, event_type: str, data: str, sender: Sender | None = None) -> Tried:
    now = timezone.now()
    job = Job("", PENDING, 0, None, new_id(EVENT), event_type, now, data, "", endpoint)
    user_agent = f"Recart-Hooks/{settings.VERSION}"
    try:
        request = prepare(job, now, user_agent, settings.DELIVERY_CONNECT_TIMEOUT_S)
    except TransformError as error:
        return Tried(job.event_id, None, failed(ErrorClass.TRANSFORM, str(error)))
    return Tried(job.event_id, request, (sender or shared_sender()).send(request))


@lru_cache(maxsize=1)
def shared_sender() -> Sender:
    """This process' one."""
    return configured_sender()
