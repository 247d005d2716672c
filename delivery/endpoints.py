"""What a worker must know of a subscription to send to it, kept in memory and dropped when it changes.

Loaded on first use, for all ids of a batch in one query. `forget` is called by the change listener; until it runs
(within a second of the change) an attempt may still use the former state.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from delivery.database import in_database
from delivery.own_keys import own_keys
from delivery.retries import DEFAULT_SCHEDULE_S
from delivery.signing import SigningKey, decode_secret
from partners.changes import Change
from partners.encryption import decrypt
from partners.errors import InvalidInput, SecretError, SecretUnreadable
from partners.models import Subscription, SubscriptionSecret
from partners.transform import Transformation, compile_transformation

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
    """Where and how a subscription wants its events."""

    subscription_id: str
    partner_id: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[Secret, ...]
    transform: Transformation | None
    timeout_s: float
    schedule_s: tuple[float, ...]
    stopped: str
    """Why nothing may be sent (disabled, deleted), or empty."""

    def live_secrets(self, now: datetime) -> list[SigningKey]:
        """Newest first."""
        return [one.key for one in self.secrets if one.expires_at is None or one.expires_at > now]


class EndpointCache:
    """Thread-safe. `is_current`: whether changes are heard of; while they are not, nothing that is kept is used."""

    def __init__(self, is_current: Callable[[], bool] = lambda: True) -> None:
        self._is_current = is_current
        self._known: dict[str, Endpoint] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def get(self, subscription_ids: Iterable[str]) -> dict[str, Endpoint]:
        """The endpoints of these subscriptions. Raises django.db.Error when they must be loaded and cannot."""
        wanted = set(subscription_ids)
        known = self._known if self._is_current() else {}
        found = {id_: endpoint for id_ in wanted if (endpoint := known.get(id_)) is not None}
        unknown = wanted - found.keys()
        if unknown:
            generation = self._generation
            loaded = in_database(load_endpoints, unknown)
            with self._lock:
                if generation == self._generation:  # else something changed while we read: use it, do not keep it
                    self._known.update(loaded)
            found.update(loaded)
        return found

    def forget(self, change: Change) -> None:
        """Takes a change over: what it touches is loaded anew on next use."""
        with self._lock:
            self._generation += 1
            if change.kind == "subscription":
                self._known.pop(change.id, None)
            elif change.kind == "everything":
                self._known.clear()


def load_endpoints(subscription_ids: Iterable[str]) -> dict[str, Endpoint]:
    subscriptions = Subscription.objects.filter(pk__in=list(subscription_ids))
    tokens: dict[str, list[SubscriptionSecret]] = defaultdict(list)
    for row in SubscriptionSecret.objects.filter(subscription__in=list(subscription_ids)).order_by("-id"):
        tokens[row.subscription_id].append(row)
    return {one.id: _usable(one, tokens[one.id]) for one in subscriptions}


def _usable(subscription: Subscription, tokens: Sequence[SubscriptionSecret]) -> Endpoint:
    """What cannot be read of one subscription stops that one, and none that is loaded with it.

    A transformation that does not compile any more ends its deliveries. Secrets or headers that no key opens are an
    operator's mistake: nothing can be signed, the attempt fails as ours, and is tried again when the key is back.
    """
    stopped = _stopped(subscription)
    try:
        shared = tuple(Secret(decode_secret(decrypt(row.token)), row.expires_at) for row in tokens)
        secrets = shared + tuple(Secret(key, None) for key in own_keys())
        headers = dict(subscription.headers)
    except (SecretUnreadable, SecretError) as error:
        logger.error("unusable secret", extra={"subscription_id": subscription.id, "error": str(error)})
        secrets, headers = (), {}
    try:
        return _endpoint(subscription, secrets, headers, _transformation(subscription), stopped)
    except InvalidInput as error:
        logger.error("unusable transformation", extra={"subscription_id": subscription.id, "error": str(error)})
        return _endpoint(subscription, secrets, headers, None, stopped or f"the subscription cannot be used: {error}")


def _transformation(subscription: Subscription) -> Transformation | None:
    return compile_transformation(subscription.transformation) if subscription.transformation else None


def _endpoint(
    subscription: Subscription,
    secrets: tuple[Secret, ...],
    headers: Mapping[str, str],
    transform: Transformation | None,
    stopped: str,
) -> Endpoint:
    return Endpoint(
        subscription_id=subscription.id,
        partner_id=subscription.partner_id,
        url=subscription.url,
        headers=headers,
        secrets=secrets,
        transform=transform,
        timeout_s=subscription.timeout_s,
        schedule_s=tuple(subscription.retry_schedule_s or settings.RETRY_SCHEDULE_S or DEFAULT_SCHEDULE_S),
        stopped=stopped,
    )


def _stopped(subscription: Subscription) -> str:
    if subscription.deleted_at is not None:
        return "the subscription was deleted"
    if not subscription.is_enabled:
        return f"the subscription is disabled ({subscription.disabled_reason or 'no reason given'})"
    return ""
