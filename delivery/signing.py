"""Signs requests by the Standard Webhooks specification 1.0 (github.com/standard-webhooks/standard-webhooks).

Pure. There are two kinds of secrets. `whsec_` and base64 of 24 to 64 bytes is shared with the partner; it makes `v1,`
signatures with HMAC-SHA256. `whsk_` and base64 of an ed25519 key is ours alone; it makes `v1a,` signatures, which its
public key (`whpk_`) verifies. No error message contains any part of a secret.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from partners.errors import SecretError
from partners.secrets import SHARED_PREFIX

PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"

_SHARED_MIN_BYTES = 24
_SHARED_MAX_BYTES = 64
_ED25519_SEED_BYTES = 32

SigningKey = bytes | Ed25519PrivateKey
"""A decoded secret: raw bytes sign `v1`, a private key signs `v1a`."""


def sign(secrets: Sequence[str | SigningKey], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one signature per secret, in their order, separated by spaces.

    `timestamp` is in whole Unix seconds, as in the `webhook-timestamp` header. Secrets may be decoded already, which
    saves time. Raises SecretError for an invalid secret, or if there is none.
    """
    if not secrets:
        raise SecretError("there is no secret to sign with")
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join([_signature(secret, content) for secret in secrets])


def decode_secret(secret: str) -> SigningKey:
    """Decodes a secret. Raises SecretError, whose message contains no part of it."""
    if secret.startswith(SHARED_PREFIX):
        return _shared_key(secret.removeprefix(SHARED_PREFIX))
    if secret.startswith(PRIVATE_PREFIX):
        return _private_key(secret.removeprefix(PRIVATE_PREFIX))
    raise SecretError(f"a secret starts with {SHARED_PREFIX} or {PRIVATE_PREFIX}")


def new_private_key() -> str:
    """A new ed25519 private key, as a `whsk_` secret."""
    return PRIVATE_PREFIX + base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def public_key(secret: str) -> str:
    """The public key of a `whsk_` secret, `whpk_` and base64, which verifies `v1a` signatures. Raises SecretError."""
    key = decode_secret(secret)
    if isinstance(key, bytes):
        raise SecretError("a shared secret has no public key")
    return PUBLIC_PREFIX + base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _signature(secret: str | SigningKey, content: bytes) -> str:
    key = decode_secret(secret) if isinstance(secret, str) else secret
    if isinstance(key, bytes):
        mac = hmac.new(key, content, "sha256")  # unlike hmac.digest, it does not release the GIL
        return "v1," + base64.b64encode(mac.digest()).decode()
    return "v1a," + base64.b64encode(key.sign(content)).decode()


def _shared_key(text: str) -> bytes:
    key = _base64(text)
    if not _SHARED_MIN_BYTES <= len(key) <= _SHARED_MAX_BYTES:
        raise SecretError(f"a shared secret has {_SHARED_MIN_BYTES} to {_SHARED_MAX_BYTES} bytes, not {len(key)}")
    return key


def _private_key(text: str) -> Ed25519PrivateKey:
    """The key from its 32 bytes, or from the 64 bytes of libsodium's form, which appends the public key."""
    raw = _base64(text)
    if len(raw) not in {_ED25519_SEED_BYTES, 2 * _ED25519_SEED_BYTES}:
        raise SecretError(f"an ed25519 key has 32 bytes, or 64 with its public key, not {len(raw)}")
    key = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_SEED_BYTES])
    if raw[_ED25519_SEED_BYTES:] not in {b"", key.public_key().public_bytes_raw()}:
        raise SecretError("the private and the public half of the ed25519 key do not match")
    return key


def _base64(text: str) -> bytes:
    """Standard alphabet; padding may be missing, as the libraries of Standard Webhooks allow."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError("a secret must be base64 after its prefix") from None
