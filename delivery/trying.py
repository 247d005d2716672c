"""One real, signed request to an endpoint now, whose outcome goes to who asked and not into the log.

It holds a thread of the web process for as long as the endpoint takes, so there is one for each partner at a time, and
never more than a quarter of the threads.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
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

LONGEST_S = 10.0
"""Also where the subscription's own timeout is longer."""


class Busy(Exception):  # noqa: N818 - a name for what it is
    """Another such request is under way, of the same partner or of too many others."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was sent, and what came of it. `request` is None when the event can't be transformed."""

    event_id: str
    request: Request | None
    outcome: Outcome


class Places:
    """Who has a request under way: each partner at most one, and at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partners: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, partner_id: str) -> Iterator[None]:
        """Raises Busy."""
        with self._lock:
            if partner_id in self._partners or len(self._partners) >= self._limit:
                raise Busy
            self._partners.add(partner_id)
        try:
            yield
        finally:
            with self._lock:
                self._partners.remove(partner_id)


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
