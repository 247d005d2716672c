"""Sends operational events by e-mail, to the partner's operational address and to staff. Each address gets one message
with all events that wait for it.

Which addresses got an event is recorded with it, so trouble with one address does not affect the others. A mail server
that is away is tried again at the next run, for a day; an address that refuses for good is not. The admin shows the
events in any case. Without EMAIL_HOST nothing is sent.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import F, Func, Q, QuerySet, Value

from delivery.models import OperationalEvent
from partners.validation import validate_mail_address

logger = logging.getLogger("delivery.operational")

TRIED_FOR = timedelta(days=1)
AT_MOST = 1_000
"""Events in one message. The rest goes into the next one."""
BUDGET_S = 30.0
"""After this time no further message is started, so that the next run of this task is not late."""
_PERMANENT = 500


def send_mail(now: datetime, staff: Sequence[str], clock: Callable[[], float] = time.monotonic) -> int:
    """Sends the events that wait; returns how many messages were sent."""
    if not settings.EMAIL_HOST:
        return 0
    server, until, sent = get_connection(), clock() + BUDGET_S, 0
    try:
        for address in _addresses(now, staff):
            events = _events_for(address, now, staff)
            if clock() >= until:
                break
            if events:
                server.open()  # connects unless it is connected
                sent += _send(server, address, events, now)
    except OSError as error:
        logger.warning("no e-mail: the mail server is away", extra={"error": str(error)[:300]})
    finally:
        _close(server)
    return sent


def _addresses(now: datetime, staff: Sequence[str]) -> list[str]:
    """Addresses with events that wait, in random order, so that the same slow ones are not always first."""
    wanting = _waiting(now, F("partner__operational_email")).order_by().exclude(partner__operational_email="")
    partners = wanting.values_list("partner__operational_email", flat=True).distinct()
    found = {*filter(_is_valid, partners), *staff}
    return random.sample(sorted(found), len(found))


def _is_valid(address: str) -> bool:
    """False for an invalid address, which may have been saved before addresses were validated."""
    try:
        validate_mail_address(address)
    except ValidationError:
        return False
    return True


def _events_for(address: str, now: datetime, staff: Sequence[str]) -> list[OperationalEvent]:
    """Events that wait for this address: of all partners for staff, else of those with this operational address."""
    waiting = _waiting(now, address).select_related("partner").order_by("created_at")
    if address not in staff:
        waiting = waiting.filter(partner__operational_email=address)
    return list(waiting[:AT_MOST])


def _waiting(now: datetime, address: str | F) -> "QuerySet[OperationalEvent]":
    """Events not settled for this address. Those that an earlier release sent have no list of addresses."""
    is_done = Q(mailed_to__contains=[address]) | Q(mailed_to=None, emailed_at__isnull=False)
    return OperationalEvent.objects.filter(created_at__gte=now - TRIED_FOR).exclude(is_done)


def _send(server: BaseEmailBackend, address: str, events: Sequence[OperationalEvent], now: datetime) -> bool:
    """Returns whether the message was sent. Trouble is logged and does not affect other addresses."""
    written = OperationalEvent.objects.filter(pk__in=[event.pk for event in events])
    done = {"mailed_to": Func(F("mailed_to"), Value(address), function="array_append")}
    try:
        message(server, address, events).send()
    except Exception as error:
        is_final = _is_permanent(error)
        logger.warning("no e-mail", extra={"error": str(error)[:300], "events": len(events), "given_up": is_final})
        if is_final:
            written.update(**done)
        if not isinstance(error, SMTPRecipientsRefused):  # after which the connection can be used again
            _close(server)
        return False
    written.update(**done, emailed_at=now)
    return True


def _is_permanent(error: Exception) -> bool:
    """Whether the mail server refuses the address or the message for good, or no message can be made at all."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= _PERMANENT for code, _ in error.recipients.values())
    if isinstance(error, SMTPDataError):
        return error.smtp_code >= _PERMANENT
    return not isinstance(error, OSError)  # nor an SMTPException, which is an OSError


def _close(server: BaseEmailBackend) -> None:
    with suppress(OSError):
        server.close()


def message(server: BaseEmailBackend, address: str, events: Sequence[OperationalEvent]) -> EmailMessage:
    first = events[0]
    subject = first.title if len(events) == 1 else f"{len(events)} notices about your webhooks"
    lines = [f"{event.created_at:%Y-%m-%d %H:%M} UTC  {event.partner.name}: {event.title}" for event in events]
    body = "\n\n".join([*lines, f"Recart Hooks, {settings.PUBLIC_URL}"])
    return EmailMessage(subject=f"[Recart Hooks] {subject}"[:200], body=body, to=[address], connection=server)
