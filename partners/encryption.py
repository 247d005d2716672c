"""The one reader of the encryption keys: secrets are stored as Fernet tokens.

The first key encrypts, every key decrypts, so that keys rotate: put the new one first, run
`manage.py reencrypt_secrets`, then drop the old one.
"""

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
