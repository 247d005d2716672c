"""Encrypts signing secrets and the values of request headers, as Fernet tokens. Nothing else uses ENCRYPTION_KEYS.

The first key encrypts, every key decrypts. To rotate keys, put the new one first, run `manage.py reencrypt_secrets`,
then remove the old one.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core import checks

from partners.errors import SecretUnreadable


def _keys() -> MultiFernet:
    """Raises ValueError for unusable keys, which `check_keys` reports before a process starts."""
    return _made_of(tuple(settings.ENCRYPTION_KEYS))


@lru_cache(maxsize=4)
def _made_of(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def check_keys(**_: Any) -> Sequence[checks.CheckMessage]:
    """partners.E001: ENCRYPTION_KEYS are Fernet keys, at least one."""
    try:
        _keys()
    except ValueError:
        what = "ENCRYPTION_KEYS: expected Fernet keys (32 bytes each, in base64), separated by commas, at least one"
        return [checks.Error(what, hint=".env.example says how to make one.", id="partners.E001")]
    return []


def encrypt(secret: str) -> str:
    """Returns a token that only the configured keys decrypt."""
    return _keys().encrypt(secret.encode()).decode()


def decrypt(token: str) -> str:
    """Returns the secret in a token. Raises SecretUnreadable."""
    try:
        return _keys().decrypt(token.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable("no key of ENCRYPTION_KEYS decrypts it") from None


def readable(token: str) -> str | None:
    """The secret in a token; None if no configured key decrypts it."""
    try:
        return decrypt(token)
    except SecretUnreadable:
        return None


def reencrypt(token: str) -> str:
    """Returns a token of the same secret by the first key."""
    return _keys().rotate(token.encode()).decode()


class Sealed(Mapping[str, str]):
    """A mapping with encrypted values, which are decrypted on access. Raises SecretUnreadable."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self.tokens = tokens

    def __getitem__(self, name: str) -> str:
        return decrypt(self.tokens[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def __eq__(self, other: object) -> bool:
        """Decrypts only if the tokens differ and the names are the same. What is unreadable equals nothing else."""
        if isinstance(other, Sealed) and self.tokens == other.tokens:
            return True
        try:
            return isinstance(other, Mapping) and self.keys() == other.keys() and dict(self) == dict(other)
        except SecretUnreadable:
            return False

    __hash__ = None  # type: ignore[assignment]  # compared by its content

    def __repr__(self) -> str:
        return f"Sealed({', '.join(self.tokens)})"
