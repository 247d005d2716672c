"""The one reader of the encryption keys: secrets and the values of request headers are stored as Fernet tokens.

The first key encrypts, every key decrypts, so that keys rotate: put the new one first, run
`manage.py reencrypt_secrets`, then drop the old one.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from partners.errors import SecretUnreadable


@lru_cache(maxsize=4)
def _keys(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(secret: str) -> str:
    """A token that only the configured keys open."""
    return _keys(tuple(settings.ENCRYPTION_KEYS)).encrypt(secret.encode()).decode()


def decrypt(token: str) -> str:
    """The secret in a token; raises SecretUnreadable."""
    try:
        return _keys(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable("no key of ENCRYPTION_KEYS opens this secret") from None


def reencrypt(token: str) -> str:
    """The same secret under the first key."""
    return _keys(tuple(settings.ENCRYPTION_KEYS)).rotate(token.encode()).decode()


class Sealed(Mapping[str, str]):
    """Named values whose names are read freely; a value is decrypted when it is asked for (SecretUnreadable)."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self.tokens = tokens

    def __getitem__(self, name: str) -> str:
        return decrypt(self.tokens[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def __eq__(self, other: object) -> bool:
        """Decrypts only when nothing else tells."""
        if isinstance(other, Sealed) and self.tokens == other.tokens:
            return True
        return isinstance(other, Mapping) and self.keys() == other.keys() and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # as any mapping that is compared by its content

    def __repr__(self) -> str:
        return f"Sealed({', '.join(self.tokens)})"
