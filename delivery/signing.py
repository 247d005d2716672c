"""Signs what is sent, by the Standard Webhooks specification 1.0 (github.com/standard-webhooks/standard-webhooks).

Pure. Two kinds of secrets: `whsec_` and base64 of 24 to 64 bytes, shared with the partner, signs `v1,` with
HMAC-SHA256; `whsk_` and base64 of an ed25519 key, ours alone, signs `v1a,` and is verified with its public half,
`whpk_`. No error message here ever holds any part of a secret.
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

    `timestamp` is in whole Unix seconds, as the `webhook-timestamp` header says it. Secrets may be given decoded, which
    saves their decoding at every attempt. Raises SecretError for one that is no secret, or when there is none.
    """
    if not secrets:
        raise SecretError("there is no secret to sign with")
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join([_signature(secret, content) for secret in secrets])


def decode_secret(secret: str) -> SigningKey:
    """The key of a secret in text form; raises SecretError, whose message holds nothing of it."""
    if secret.startswith(SHARED_PREFIX):
        return _shared_key(secret.removeprefix(SHARED_PREFIX))
    if secret.startswith(PRIVATE_PREFIX):
        return _private_key(secret.removeprefix(PRIVATE_PREFIX))
    raise SecretError(f"a secret starts with {SHARED_PREFIX} or {PRIVATE_PREFIX}")


def new_private_key() -> str:
    """A new ed25519 key: `whsk_` and its 32 bytes, which stay with us."""
    return PRIVATE_PREFIX + base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def public_key(secret: str) -> str:
    """The public half of a `whsk_` secret, `whpk_` and base64: what verifies `v1a` signatures. Raises SecretError."""
    key = decode_secret(secret)
    if isinstance(key, bytes):
        raise SecretError("a shared secret has no public half")
    return PUBLIC_PREFIX + base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _signature(secret: str | SigningKey, content: bytes) -> str:
    key = decode_secret(secret) if isinstance(secret, str) else secret
    if isinstance(key, bytes):
        mac = hmac.new(key, content, "sha256")  # unlike hmac.digest, it does not let go of the interpreter
        return "v1," + base64.b64encode(mac.digest()).decode()
    return "v1a," + base64.b64encode(key.sign(content)).decode()


def _shared_key(text: str) -> bytes:
    key = _base64(text)
    if not _SHARED_MIN_BYTES <= len(key) <= _SHARED_MAX_BYTES:
        raise SecretError(f"a shared secret has {_SHARED_MIN_BYTES} to {_SHARED_MAX_BYTES} bytes, not {len(key)}")
    return key


def _private_key(text: str) -> Ed25519PrivateKey:
    """From the 32 bytes of the key itself, or from the 64 of libsodium's form, which appends the public half."""
    raw = _base64(text)
    if len(raw) not in {_ED25519_SEED_BYTES, 2 * _ED25519_SEED_BYTES}:
        raise SecretError(f"an ed25519 key has 32 bytes, or 64 with its public half, not {len(raw)}")
    key = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_SEED_BYTES])
    if raw[_ED25519_SEED_BYTES:] not in {b"", key.public_key().public_bytes_raw()}:
        raise SecretError("the two halves of the ed25519 key do not belong together")
    return key


def _base64(text: str) -> bytes:
    """Standard alphabet; padding may be missing, as the libraries of Standard Webhooks allow."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError("what follows a secret's prefix must be base64") from None
