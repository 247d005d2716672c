"""Our own signing keys, ed25519: every request is also signed with them (`v1a`), beside its subscription's secret.

Verifying `v1a` needs no shared secret, only the public keys, which are published at `/.well-known/webhook-keys.json`.
Several keys may sign at the same time, so that one can replace another without an interruption.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core import checks

from delivery.signing import SigningKey, decode_secret, public_key
from partners.errors import SecretError


def own_keys() -> tuple[SigningKey, ...]:
    """Raises SecretError for an invalid key, which `check_keys` reports before a process starts."""
    return _decoded(tuple(settings.SIGNING_KEYS))


def public_keys() -> list[str]:
    """`whpk_…`, in the order of the signatures."""
    return [public_key(key) for key in settings.SIGNING_KEYS]


def check_keys(**_: Any) -> Sequence[checks.CheckMessage]:
    """delivery.E004: SIGNING_KEYS are ed25519 keys."""
    try:
        public_keys()
    except SecretError as error:
        return [checks.Error(f"SIGNING_KEYS: {error}", id="delivery.E004")]
    return []


@lru_cache(maxsize=8)
def _decoded(keys: tuple[str, ...]) -> tuple[SigningKey, ...]:
    return tuple(decode_secret(key) for key in keys)
