"""API keys: `rk_` and 32 random bytes. Only the answer to the creation contains the token; it is never stored."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from partners import audit
from partners.models import ApiKey, Partner

PREFIX = "rk_"
MAX_LIVE_KEYS = 50
"""Per partner, so that a loop that creates keys ends."""
_USED_EVERY = timedelta(minutes=1)
_HINT_CHARS = len(PREFIX) + 6


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key with its token, which the repr leaves out."""

    key: ApiKey
    token: str

    def __repr__(self) -> str:
        return f"NewKey({self.key})"


def create_key(
    name: str, scope: str = ApiKey.Scope.PARTNER, partner: Partner | None = None, expires_at: datetime | None = None
) -> NewKey:
    """Creates a key. Raises ValidationError."""
    token = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        partner=partner,
        name=name,
        scope=scope,
        expires_at=expires_at,
        token_hash=hash_of(token),
        hint=token[:_HINT_CHARS],
        created_by=_maker(),
    )
    with transaction.atomic():
        if partner is not None:
            # Locked, so that requests at the same time cannot exceed the limit.
            Partner.objects.select_for_update().get(pk=partner.pk)
        key.full_clean()
        check_new(partner, expires_at)
        key.save(force_insert=True)
        audit.record("api_key.create", key, partner_id=key.partner_id, after=audit.snapshot(key))
    return NewKey(key, token)


def revoke_key(key: ApiKey) -> bool:
    """Ends a key at once; False when it was revoked already."""
    with transaction.atomic():
        now = timezone.now()
        changed = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
        if changed:
            audit.record(
                "api_key.revoke", key, partner_id=key.partner_id, before={"revoked_at": None}, after={"revoked_at": now}
            )
    key.refresh_from_db(fields=["revoked_at"])
    return bool(changed)


def find_key(token: str) -> ApiKey | None:
    """The live key of a token. It is looked up by its hash, so the time says nothing about other tokens."""
    if not token.startswith(PREFIX):
        return None
    found = ApiKey.objects.select_related("partner").filter(token_hash=hash_of(token)).first()
    return found if found is not None and found.is_live else None


def mark_used(key: ApiKey) -> None:
    """Saves the time, at most once a minute for each key."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - _USED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USED_EVERY)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def live_keys(partner: Partner) -> int:
    now = timezone.now()
    return partner.api_keys.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None).count()


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def check_new(partner: Partner | None, expires_at: datetime | None) -> None:
    """Raises ValidationError if there may not be such a key now."""
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "this time is in the past"})
    if partner is not None and live_keys(partner) >= MAX_LIVE_KEYS:
        raise ValidationError(f"at most {MAX_LIVE_KEYS} live keys: revoke one first")


def _maker() -> str:
    actor = audit.current_actor()
    return f"{actor.kind} {actor.name or actor.id}".strip()[:200]
