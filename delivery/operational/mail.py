"""Operational events by e-mail: to the partner's operational address and to ours, what has gathered in one message.

What was sent is written down address by address, so that trouble with one costs the others nothing. A mail server that
is away is tried again at the next look, for a day; what an address refuses for good is not tried again. Events are
never lost by it, they are in the admin. Without EMAIL_HOST nothing is sent.
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
"""Events in one message; the others are in the next."""
BUDGET_S = 30.0
"""After so long no further message is begun: the other maintenance waits for this."""
_PERMANENT = 500


def send_mail(now: datetime, staff: Sequence[str], clock: Callable[[], float] = time.monotonic) -> int:
    """Sends what is waiting; returns how many messages."""
    if not settings.EMAIL_HOST:
        return 0
    server, until, sent = get_connection(), clock() + BUDGET_S, 0
    try:
        for address in _addresses(now, staff):
            events = _events_for(address, now, staff)
            if clock() >= until:
                break
            if events:
                server.open()  # once, and anew after trouble
                sent += _send(server, address, events, now)
    except OSError as error:
        logger.warning("no e-mail: the server is away", extra={"error": str(error)[:300]})
    finally:
        _close(server)
    return sent


def _addresses(now: datetime, staff: Sequence[str]) -> list[str]:
    """In another order each time, so that the same slow ones are not always first."""
    wanting = _waiting(now, F("partner__operational_email")).order_by().exclude(partner__operational_email="")
    partners = wanting.values_list("partner__operational_email", flat=True).distinct()
    found = {*filter(_may_be_saved, partners), *staff}
    return random.sample(sorted(found), len(found))


def _may_be_saved(address: str) -> bool:
    """It may have been saved before this was asked."""
    try:
        validate_mail_address(address)
    except ValidationError:
        return False
    return True


def _events_for(address: str, now: datetime, staff: Sequence[str]) -> list[OperationalEvent]:
    """Staff get everything."""
    waiting = _waiting(now, address).select_related("partner").order_by("created_at")
    if address not in staff:
        waiting = waiting.filter(partner__operational_email=address)
    return list(waiting[:AT_MOST])


def _waiting(now: datetime, address: str | F) -> "QuerySet[OperationalEvent]":
    """What this address was not told yet. What an earlier release has sent has no list, and is done."""
    is_done = Q(mailed_to__contains=[address]) | Q(mailed_to=None, emailed_at__isnull=False)
    return OperationalEvent.objects.filter(created_at__gte=now - TRIED_FOR).exclude(is_done)


def _send(server: BaseEmailBackend, address: str, events: Sequence[OperationalEvent], now: datetime) -> bool:
    """Whether it was sent. Whatever is wrong with one address is its own trouble."""
    written = OperationalEvent.objects.filter(pk__in=[event.pk for event in events])
    done = {"mailed_to": Func(F("mailed_to"), Value(address), function="array_append")}
    try:
        message(server, address, events).send()
    except Exception as error:
        is_final = _is_for_good(error)
        logger.warning("no e-mail", extra={"error": str(error)[:300], "events": len(events), "given_up": is_final})
        if is_final:
            written.update(**done)
        if not isinstance(error, SMTPRecipientsRefused):  # after this the server goes on with the next message
            _close(server)
        return False
    written.update(**done, emailed_at=now)
    return True


def _is_for_good(error: Exception) -> bool:
    """Refused by the address' own server; or by us, because no message to it can be made."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= _PERMANENT for code, _ in error.recipients.values())
    if isinstance(error, SMTPDataError):
        return error.smtp_code >= _PERMANENT
    return not isinstance(error, OSError)  # as all of SMTP's are


def _close(server: BaseEmailBackend) -> None:
    with suppress(OSError):
        server.close()


def message(server: BaseEmailBackend, address: str, events: Sequence[OperationalEvent]) -> EmailMessage:
    first = events[0]
    subject = first.title if len(events) == 1 else f"{len(events)} notices about your webhooks"
    lines = [f"{event.created_at:%Y-%m-%d %H:%M} UTC  {event.partner.name}: {event.title}" for event in events]
    body = "\n\n".join([*lines, f"Recart Hooks, {settings.PUBLIC_URL}"])
    return EmailMessage(subject=f"[Recart Hooks] {subject}"[:200], body=body, to=[address], connection=server)
