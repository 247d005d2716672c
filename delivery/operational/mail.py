"""Operational events by e-mail: to the partner's operational address and to ours, what has gathered in one message.

A mail server that is away, or one address that is refused, is tried again at the next look, for a day; events are never
lost by it, they are in the admin. Without EMAIL_HOST nothing is sent.
"""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage

from delivery.models import OperationalEvent

logger = logging.getLogger("delivery.operational")

TRIED_FOR = timedelta(days=1)
AT_MOST = 1_000
WITHIN_S = 20.0
"""A server that hangs costs EMAIL_TIMEOUT for each address."""


def send_mail(
    now: datetime, staff: Sequence[str], *, within_s: float = WITHIN_S, clock: Callable[[], float] = time.monotonic
) -> int:
    """Sends what is waiting, as far as the time goes; returns how many messages."""
    if not settings.EMAIL_HOST:
        return 0
    by_address = _waiting(now, staff)
    addresses = list(by_address)
    random.shuffle(addresses)  # those that take long are not always the first
    ends, sent = clock() + within_s, 0
    for address in addresses:
        if clock() > ends:
            break
        if _send(address, by_address[address]):
            sent += 1
            _note(address, by_address[address], staff, now)
    return sent


def _waiting(now: datetime, staff: Sequence[str]) -> Mapping[str, list[OperationalEvent]]:
    """By the address that has not had it."""
    waiting = OperationalEvent.objects.filter(emailed_at=None, created_at__gte=now - TRIED_FOR).select_related(
        "partner"
    )
    by_address: dict[str, list[OperationalEvent]] = defaultdict(list)
    for event in waiting.order_by("created_at")[:AT_MOST]:
        for address in _addresses(event, staff) - set(event.emailed_to):
            by_address[address].append(event)
    return by_address


def _addresses(event: OperationalEvent, staff: Sequence[str]) -> set[str]:
    return {event.partner.operational_email, *staff} - {""}


def _send(address: str, events: Sequence[OperationalEvent]) -> bool:
    try:
        message(address, events).send()
    except (OSError, SMTPException) as error:
        logger.warning("no e-mail", extra={"error": str(error)[:300], "events": len(events)})
        return False
    return True


def _note(address: str, events: Sequence[OperationalEvent], staff: Sequence[str], now: datetime) -> None:
    """At once: whatever becomes of the other addresses, this one has had it."""
    for event in events:
        event.emailed_to.append(address)
        if _addresses(event, staff) <= set(event.emailed_to):
            event.emailed_at = now
    OperationalEvent.objects.bulk_update(events, ["emailed_to", "emailed_at"])


def message(address: str, events: Sequence[OperationalEvent]) -> EmailMessage:
    first = events[0]
    subject = first.title if len(events) == 1 else f"{len(events)} notices about your webhooks"
    lines = [f"{event.created_at:%Y-%m-%d %H:%M} UTC  {event.partner.name}: {event.title}" for event in events]
    body = "\n\n".join([*lines, f"Recart Hooks, {settings.PUBLIC_URL}"])
    return EmailMessage(subject=f"[Recart Hooks] {subject}"[:200], body=body, to=[address])
