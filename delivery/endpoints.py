"""The subscriptions' endpoints: what a worker needs in order to send, kept in memory until it changes.

Endpoints are loaded on first use, all of a batch together. The change listener calls `forget`; until then (less than a
second after the change) an attempt may still use the former state.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from delivery.compiling import LateTransformation
from delivery.database import in_database
from delivery.own_keys import own_keys
from delivery.retries import DEFAULT_SCHEDULE_S
from delivery.signing import SigningKey, decode_secret
from partners.changes import Change
from partners.encryption import decrypt
from partners.errors import SecretError, SecretUnreadable
from partners.models import Subscription, SubscriptionSecret
from partners.transform import Transformation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Secret:
    """A decoded signing secret, never shown in a repr."""

    key: SigningKey
    expires_at: datetime | None

    def __repr__(self) -> str:
        return f"Secret(expires_at={self.expires_at})"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to send a subscription's events."""

    subscription_id: str
    partner_id: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[Secret, ...]
    transform: LateTransformation | Transformation | None
    timeout_s: float
    schedule_s: tuple[float, ...]
    stopped: str
    """Why nothing may be sent (disabled, deleted), or empty."""
    unreadable: str = ""
    """Why the secrets or the headers cannot be read, or empty."""

    def live_secrets(self, now: datetime) -> list[SigningKey]:
        """The keys that have not expired, newest first. Raises SecretError if they cannot be read."""
        if self.unreadable:
            raise SecretError(self.unreadable)
        return [one.key for one in self.secrets if one.expires_at is None or one.expires_at > now]


class EndpointCache:
    """Keeps endpoints in memory. Thread-safe.

    `is_current` says whether the change listener is connected. While it is not, kept endpoints are not used.
    """

    def __init__(self, is_current: Callable[[], bool] = lambda: True) -> None:
        self._is_current = is_current
        self._known: dict[str, Endpoint] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def get(self, subscription_ids: Iterable[str]) -> dict[str, Endpoint]:
        """The endpoints of these subscriptions, except those that do not exist. Raises django.db.Error."""
        wanted = set(subscription_ids)
        known = self._known if self._is_current() else {}
        found = {id_: endpoint for id_ in wanted if (endpoint := known.get(id_)) is not None}
        unknown = wanted - found.keys()
        if unknown:
            generation = self._generation
            loaded = in_database(load_endpoints, unknown)
            with self._lock:
                if generation == self._generation:  # else something changed meanwhile: use them, but do not keep them
                    self._known.update(loaded)
            found.update(loaded)
        return found

    def forget(self, changes: Iterable[Change]) -> None:
        """Drops the endpoints that the changes affect."""
        with self._lock:
            self._generation += 1
            for change in changes:
                if change.kind == "subscription":
                    self._known.pop(change.id, None)
                elif change.kind == "everything":
                    self._known.clear()


def load_endpoints(subscription_ids: Iterable[str]) -> dict[str, Endpoint]:
    subscriptions = Subscription.objects.filter(pk__in=list(subscription_ids))
    tokens: dict[str, list[SubscriptionSecret]] = defaultdict(list)
    live = SubscriptionSecret.objects.exclude(expires_at__lte=timezone.now())
    for row in live.filter(subscription__in=list(subscription_ids)).order_by("-id"):
        tokens[row.subscription_id].append(row)
    return {one.id: _endpoint(one, tokens[one.id]) for one in subscriptions}


def _endpoint(subscription: Subscription, tokens: Sequence[SubscriptionSecret]) -> Endpoint:
    """The endpoint of a subscription, even if parts of it cannot be used: it must not affect the rest of the batch.

    If no key decrypts the secrets or headers, that is an operator's mistake: requests cannot be signed, so attempts
    fail as INTERNAL and are retried.
    """
    secrets, headers, unreadable = _unsealed(subscription, tokens)
    text = subscription.transformation
    return Endpoint(
        subscription_id=subscription.id,
        partner_id=subscription.partner_id,
        url=subscription.url,
        headers=headers,
        secrets=secrets,
        transform=LateTransformation(subscription.id, subscription.partner_id, text) if text else None,
        timeout_s=subscription.timeout_s,
        schedule_s=tuple(subscription.retry_schedule_s or settings.RETRY_SCHEDULE_S or DEFAULT_SCHEDULE_S),
        stopped=_stopped(subscription),
        unreadable=unreadable,
    )


def _unsealed(
    subscription: Subscription, tokens: Sequence[SubscriptionSecret]
) -> tuple[tuple[Secret, ...], Mapping[str, str], str]:
    """The secrets and the headers; without both, why they cannot be read."""
    what = "a signing secret"
    try:
        shared = tuple(Secret(decode_secret(decrypt(row.token)), row.expires_at) for row in tokens)
        secrets = shared + tuple(Secret(key, None) for key in own_keys())
        what = "the value of a request header"
        return secrets, dict(subscription.headers), ""
    except (SecretUnreadable, SecretError) as error:
        why = f"{what} cannot be read: {error}"
        logger.error("unusable secret or headers", extra={"subscription_id": subscription.id, "error": why})
        return (), {}, why


def _stopped(subscription: Subscription) -> str:
    if subscription.deleted_at is not None:
        return "the subscription was deleted"
    if not subscription.is_enabled:
        return f"the subscription is disabled ({subscription.disabled_reason or 'no reason given'})"
    return ""
