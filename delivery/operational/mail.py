"""Operational events by e-mail: to the partner's operational address and to ours, what has gathered in one message.

A mail server that is away is tried again at the next look, for a day; events are never lost by it, they are in the
admin. Without EMAIL_HOST nothing is sent.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage

from delivery.models import OperationalEvent

logger = logging.getLogger("delivery.operational")

TRIED_FOR = timedelta(days=1)
AT_MOST = 1_000


def send_mail(now: datetime, staff: Sequence[str]) -> int:
    """Sends what is waiting; returns how many messages."""
    if not settings.EMAIL_HOST:
        return 0
    waiting = OperationalEvent.objects.filter(emailed_at=None, created_at__gte=now - TRIED_FOR).select_related(
        "partner"
    )
    by_address: dict[str, list[OperationalEvent]] = defaultdict(list)
    for event in waiting.order_by("created_at")[:AT_MOST]:
        for address in {event.partner.operational_email, *staff} - {""}:
            by_address[address].append(event)
    failed: set[str] = set()
    for address, events in by_address.items():
        try:
            message(address, events).send()
        except (OSError, SMTPException) as error:
            logger.warning("no e-mail", extra={"error": str(error)[:300], "events": len(events)})
            failed.update(event.pk for event in events)
    done = {event.pk for events in by_address.values() for event in events} - failed
    OperationalEvent.objects.filter(pk__in=done).update(emailed_at=now)
    return len(by_address)


def message(address: str, events: Sequence[OperationalEvent]) -> EmailMessage:
    first = events[0]
    subject = first.title if len(events) == 1 else f"{len(events)} notices about your webhooks"
    lines = [f"{event.created_at:%Y-%m-%d %H:%M} UTC  {event.partner.name}: {event.title}" for event in events]
    body = "\n\n".join([*lines, f"Recart Hooks, {settings.PUBLIC_URL}"])
    return EmailMessage(subject=f"[Recart Hooks] {subject}"[:200], body=body, to=[address])
