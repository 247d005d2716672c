"""Stores operational events, each once, and delivers them as signed webhooks, like any other event.

An event's unique key identifies what happened. Events of a partner without an operational URL are shown in the admin
and mailed if it has an address. Events about the operational endpoint itself are not delivered to it.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db import transaction

from delivery.messages import OUR_SOURCE
from delivery.models import OperationalEvent
from delivery.operational.kinds import KINDS, showable
from delivery.passing import is_away
from delivery.verbs import send_to
from partners.envelope import rfc3339
from partners.models import Partner
from partners.services import operational_subscription

logger = logging.getLogger("delivery.operational")


@dataclass(frozen=True, slots=True)
class Notice:
    """An operational event before it is stored. Times in `data` are datetimes."""

    kind: str
    key: str
    partner_id: str
    data: Mapping[str, Any]
    subscription_id: str | None = None


def notify(notices: Iterable[Notice], now: datetime) -> list[OperationalEvent]:
    """Stores and delivers the notices whose key is new; returns their events. An error of ours with one notice is
    logged and does not stop those of other partners."""
    told = []
    for notice in notices:
        try:
            event = _store(notice, now)
        except Exception as error:
            if is_away(error):
                raise
            logger.exception("notice failed", extra={"partner_id": notice.partner_id, "notice": notice.key})
            continue
        if event is not None:
            told.append(event)
            logger.warning(notice.kind, extra={"partner_id": notice.partner_id, **showable(_plain(notice.data))})
    return told


def _store(notice: Notice, now: datetime) -> OperationalEvent | None:
    data = _plain(notice.data)
    with transaction.atomic():
        event, is_new = OperationalEvent.objects.get_or_create(
            key=notice.key,
            defaults={
                "kind": notice.kind,
                "partner_id": notice.partner_id,
                "subscription_id": notice.subscription_id,
                "title": KINDS[notice.kind].title_of(data)[:500],
                "data": orjson.dumps(data).decode(),
                "created_at": now,
            },
        )
        if not is_new:
            return None
        _deliver(event)
    return event


def _deliver(event: OperationalEvent) -> None:
    try:
        target = operational_subscription(Partner.objects.get(pk=event.partner_id))
    except ValidationError as error:
        logger.warning("operational URL refused", extra={"partner_id": event.partner_id, "error": str(error.messages)})
        return
    if target is not None and target.pk != event.subscription_id:
        send_to(target, event.kind, event.data, OUR_SOURCE, event_id=event.pk)


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in data.items()}
