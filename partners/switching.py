"""Enables and disables subscriptions, many with a few statements: one by one, 5,000 take a minute.

Safe against concurrent changes. Each function returns those that it changed, as they were before.
"""

from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from partners import audit
from partners.models import Subscription

_Reason = Subscription.DisabledReason
_REPLACES: dict[str, frozenset[str]] = {
    _Reason.PARTNER: frozenset({_Reason.GONE, _Reason.FAILING}),
    _Reason.STAFF: frozenset(_Reason.values) - {_Reason.STAFF},
}
"""The reasons in whose place one is put. A partner's leaves `unverified`, since it would skip the verification."""


def disable_subscriptions(subscriptions: Collection[Subscription], reason: str) -> list[Subscription]:
    """Stops deliveries to those that are enabled, or are disabled for a reason that this one replaces."""
    now, replaced = timezone.now(), Q(disabled_reason__in=_REPLACES.get(reason, ()))
    off = {"is_enabled": False, "disabled_reason": reason}
    with transaction.atomic():
        changed = _lock(subscriptions, Q(is_enabled=True) | replaced)
        _update(changed, **off, disabled_at=Coalesce("disabled_at", now), updated_at=now)
        _record_switch("subscription.disable", changed, off)
    return changed


def enable_subscriptions(
    subscriptions: Collection[Subscription], action: str = "subscription.enable", only: Q | None = None
) -> list[Subscription]:
    """Starts deliveries of new events to those that are disabled and meet the condition."""
    on = {"is_enabled": True, "disabled_reason": ""}
    with transaction.atomic():
        changed = _lock(subscriptions, Q(is_enabled=False) & (only or Q()))
        _update(changed, **on, disabled_at=None, failing_since=None, updated_at=timezone.now())
        _record_switch(action, changed, on)
    return changed


def _lock(subscriptions: Collection[Subscription], condition: Q) -> list[Subscription]:
    """Those that the condition holds for and that are not deleted."""
    rows = Subscription.objects.filter(condition, pk__in=[one.pk for one in subscriptions], deleted_at=None)
    return list(rows.select_for_update().order_by("pk"))


def _update(subscriptions: Collection[Subscription], **values: Any) -> None:
    Subscription.objects.filter(pk__in=[one.pk for one in subscriptions]).update(**values)


def _record_switch(action: str, subscriptions: Collection[Subscription], after: Mapping[str, Any]) -> None:
    audit.record_all(
        audit.entry(
            action,
            one,
            partner_id=one.partner_id,
            before={"is_enabled": one.is_enabled, "disabled_reason": one.disabled_reason},
            after=after,
        )
        for one in subscriptions
    )
