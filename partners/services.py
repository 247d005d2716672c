"""The functions that change partners, subscriptions and secrets, for the admin, the API and commands.

Each checks its input (django.core.exceptions.ValidationError says what is wrong, field by field) and commits or changes
nothing. PostgreSQL notifies the processes of the change (partners.changes).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from partners import audit
from partners.encryption import encrypt, readable
from partners.models import FOREVER, Partner, Subscription, SubscriptionSecret
from partners.secrets import new_secret
from partners.switching import disable_subscriptions, enable_subscriptions

MAX_LIVE_SECRETS = 10
OF_THE_PROFILE = ("url", "event_types", "filter")
"""Fields of the operational subscription that are made of its partner's profile, or have no effect."""
_Reason = Subscription.DisabledReason


def create_partner(name: str, **fields: Any) -> Partner:
    partner = Partner(name=name, **fields)
    partner.full_clean()
    with transaction.atomic():
        partner.save(force_insert=True)
        audit.record("partner.create", partner, partner_id=partner.pk, after=audit.snapshot(partner))
    return partner


def update_partner(partner: Partner, changes: Mapping[str, Any]) -> None:
    with transaction.atomic():
        before = audit.snapshot(Partner.objects.select_for_update().get(pk=partner.pk))
        _assign_checked(partner, changes)
        partner.save(update_fields=[*changes, "updated_at"])
        if changes.get("operational_url"):
            operational_subscription(partner)  # now, so that its secret can be read before anything is sent
        audit.record("partner.update", partner, partner_id=partner.pk, before=before, after=audit.snapshot(partner))


def pause_partner(partner: Partner, until: datetime = FOREVER, by: str = Partner.PausedBy.STAFF) -> None:
    """Sends nothing until then; events wait in the queue meanwhile. Requests in flight end normally."""
    pause_partners([partner], until, by)


def resume_partner(partner: Partner) -> None:
    resume_partners([partner])


def pause_partners(partners: Collection[Partner], until: datetime = FOREVER, by: str = Partner.PausedBy.STAFF) -> None:
    """Pauses all of them with a few statements: one by one, 10,000 take more than a minute."""
    _set_pause(partners, "partner.pause", {"paused_until": until, "paused_by": by})


def resume_partners(partners: Collection[Partner]) -> None:
    _set_pause(partners, "partner.resume", {"paused_until": None, "paused_by": Partner.PausedBy.NONE})


def _set_pause(partners: Collection[Partner], action: str, pause: dict[str, Any]) -> None:
    changes, entries = {**pause, "updated_at": timezone.now()}, []
    with transaction.atomic():
        rows = Partner.objects.filter(pk__in=[partner.pk for partner in partners])
        for row in rows.select_for_update().order_by("pk"):
            before = audit.snapshot(row)
            entries.append(audit.entry(action, row, partner_id=row.pk, before=before, after=before | pause))
        rows.update(**changes)
        audit.record_all(entries)
    for partner in partners:
        _assign(partner, changes)


def create_subscription(
    partner: Partner, url: str, event_types: Sequence[str], *, secret: str | None = None, **fields: Any
) -> Subscription:
    """Creates it with a signing secret. It is enabled unless `is_enabled` is False or it must be verified."""
    subscription = Subscription(partner=partner, url=url, event_types=list(event_types), **fields)
    if settings.ENDPOINT_PROOF:
        _disable(subscription, _Reason.UNVERIFIED)
    elif not subscription.is_enabled:
        _disable(subscription, _Reason.PARTNER)
    subscription.full_clean()
    with transaction.atomic():
        subscription.save(force_insert=True)
        add_secret(subscription, secret or new_secret())
        _record("subscription.create", subscription, after=audit.snapshot(subscription))
    return subscription


def update_subscription(subscription: Subscription, changes: Mapping[str, Any]) -> None:
    """With ENDPOINT_PROOF a new URL must be verified, and deliveries that wait for the former one become dead.

    Values that it has already change nothing, not even `updated_at`.
    """
    with transaction.atomic():
        row = Subscription.objects.select_for_update().get(pk=subscription.pk)
        before, written = audit.snapshot(row), [*changes, "updated_at"]
        _assign_checked(subscription, changes)
        if audit.snapshot(subscription) == before:
            return
        is_moved = changes.get("url", row.url) != row.url
        if settings.ENDPOINT_PROOF and is_moved and row.disabled_reason != _Reason.STAFF:
            written += _disable(subscription, _Reason.UNVERIFIED)
        subscription.save(update_fields=written)
        _record("subscription.update", subscription, before, audit.snapshot(subscription))


def _disable(subscription: Subscription, reason: str) -> list[str]:
    """Disables it without saving; returns the names of the changed fields."""
    subscription.is_enabled, subscription.disabled_reason = False, reason
    subscription.disabled_at = subscription.disabled_at or timezone.now()
    return ["is_enabled", "disabled_reason", "disabled_at"]


def disable_subscription(subscription: Subscription, reason: str) -> bool:
    """Stops deliveries to it; False if it was disabled already for a reason that this one does not replace.

    Safe against concurrent changes.
    """
    changed = disable_subscriptions([subscription], reason)
    subscription.refresh_from_db()
    return bool(changed)


def enable_subscription(subscription: Subscription) -> bool:
    """Starts deliveries of new events; those that came meanwhile can be replayed. False if it was enabled already."""
    changed = enable_subscriptions([subscription])
    subscription.refresh_from_db()
    return bool(changed)


def verify_subscription(subscription: Subscription, url: str) -> bool:
    """Enables one whose URL this is and echoed its challenge; False if it is not unverified, or has another URL now."""
    changed = enable_subscriptions(
        [subscription], "subscription.verify", Q(url=url, disabled_reason=_Reason.UNVERIFIED)
    )
    subscription.refresh_from_db()
    return bool(changed)


def try_again(subscription: Subscription) -> bool:
    """Enables one that was disabled for its failures, on trial: it keeps the reason until a delivery succeeds."""
    with transaction.atomic():
        changed = Subscription.objects.filter(
            pk=subscription.pk, is_enabled=False, deleted_at=None, disabled_reason=_Reason.FAILING
        ).update(is_enabled=True, disabled_at=None, failing_since=None, updated_at=timezone.now())
        if changed:
            _record("subscription.try_again", subscription, {"is_enabled": False}, {"is_enabled": True})
    return bool(changed)


def operational_subscription(partner: Partner) -> Subscription | None:
    """The subscription for the partner's operational events: created on first use, updated when the URL changes.

    None without an operational URL, or if it is disabled or not verified yet. Raises ValidationError if the URL is
    refused now.
    """
    current = Subscription.objects.filter(partner=partner, is_operational=True, deleted_at=None).first()
    url = partner.operational_url
    if not url:
        return None
    if current is None:
        current = create_subscription(partner, url, ["*"], is_operational=True, description="Operational events")
    elif current.url != url:
        update_subscription(current, {"url": url})
        if current.disabled_reason not in {_Reason.STAFF, _Reason.UNVERIFIED}:
            enable_subscription(current)
    return current if current.is_enabled else None


def delete_subscription(subscription: Subscription) -> None:
    """Ends it for good. Its delivery log stays readable."""
    with transaction.atomic():
        before = audit.snapshot(subscription)
        disable_subscription(subscription, _Reason.PARTNER)
        subscription.deleted_at, subscription.headers = timezone.now(), {}
        subscription.save(update_fields=["deleted_at", "headers", "updated_at"])
        subscription.secrets.all().delete()
        _record("subscription.delete", subscription, before, audit.snapshot(subscription))


def _assign(row: Partner | Subscription, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(row, name, value)


def _assign_checked(row: Partner | Subscription, changes: Mapping[str, Any]) -> None:
    """Validates only what changes: the settings of today may refuse another field as it is."""
    _assign(row, changes)
    row.full_clean(exclude={field.name for field in row._meta.fields} - changes.keys())


def _record(
    action: str,
    subscription: Subscription,
    before: Mapping[str, Any] = {},
    after: Mapping[str, Any] = {},
) -> None:
    audit.record(action, subscription, partner_id=subscription.partner_id, before=before, after=after)


def add_secret(subscription: Subscription, secret: str) -> SubscriptionSecret:
    return SubscriptionSecret.objects.create(subscription=subscription, token=encrypt(secret))


def rotate_secret(subscription: Subscription, overlap_s: float | None = None) -> str:
    """A new secret signs from now on; the former ones sign too until the overlap ends. Returns the new secret.

    A former one that no key decrypts ends at once, since nothing can be signed while it is there. Raises
    Subscription.DoesNotExist if the subscription has been deleted meanwhile.
    """
    now = timezone.now()
    ends = now + timedelta(seconds=settings.SECRET_OVERLAP_S if overlap_s is None else overlap_s)
    secret = new_secret()
    with transaction.atomic():
        Subscription.objects.select_for_update().get(pk=subscription.pk, deleted_at=None)
        lost = [one.pk for one in live_secrets(subscription) if readable(one.token) is None]
        subscription.secrets.filter(pk__in=lost).delete()
        live_secrets(subscription).filter(Q(expires_at=None) | Q(expires_at__gt=ends)).update(expires_at=ends)
        add_secret(subscription, secret)
        surplus = live_secrets(subscription).values_list("pk", flat=True)[MAX_LIVE_SECRETS:]
        subscription.secrets.filter(pk__in=list(surplus)).delete()
        subscription.secrets.filter(expires_at__lte=now).delete()
        _record("subscription.rotate_secret", subscription, after={"old_secrets_sign_until": ends})
    return secret


def live_secrets(subscription: Subscription) -> Any:
    """The secrets that sign now, newest first."""
    return subscription.secrets.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now())).order_by("-id")


def reveal_secrets(subscription: Subscription) -> list[str]:
    """The live secrets that are readable, newest first. The audit log records that they were revealed."""
    note_reveal(subscription)
    return [text for secret in live_secrets(subscription) if (text := readable(secret.token)) is not None]


def note_reveal(subscription: Subscription) -> None:
    """Records in the audit log that the secrets are revealed."""
    _record("subscription.reveal_secrets", subscription)
