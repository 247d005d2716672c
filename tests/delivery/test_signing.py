"""Signatures: golden vectors of the specification, and the public libraries as independent verifiers."""

import base64
import json
import time
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from delivery.signing import decode_secret, new_private_key, public_key, sign
from partners.errors import SecretError
from partners.secrets import new_secret

# The example of the Standard Webhooks specification and of its libraries' tests.
SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SPEC_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SPEC_TIMESTAMP = 1614265330
SPEC_BODY = b'{"test": 2432232314}'
SPEC_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

# RFC 8032, 7.1, test 1.
ED25519_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
ED25519_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ED25519_SECRET = "whsk_" + base64.b64encode(ED25519_SEED).decode()
GOLDEN_V1A = "fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw=="

SHARED = st.binary(min_size=24, max_size=64).map(lambda raw: "whsec_" + base64.b64encode(raw).decode())
MESSAGE_IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200)


def headers(signature: str, message_id: str, timestamp: int) -> dict[str, str]:
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def test_the_specifications_example_is_signed_as_it_says() -> None:
    assert sign([SPEC_SECRET], SPEC_ID, SPEC_TIMESTAMP, SPEC_BODY) == SPEC_SIGNATURE


def test_ed25519_signs_as_rfc_8032_says() -> None:
    # Ed25519 is deterministic: computed once with OpenSSL 3 (`openssl pkeyutl -sign -rawin`) from the RFC's key.
    content = f"{SPEC_ID}.{SPEC_TIMESTAMP}.".encode() + SPEC_BODY
    version, _, signature = sign([ED25519_SECRET], SPEC_ID, SPEC_TIMESTAMP, SPEC_BODY).partition(",")
    assert version == "v1a"
    assert signature == GOLDEN_V1A
    Ed25519PublicKey.from_public_bytes(ED25519_PUBLIC).verify(base64.b64decode(signature), content)


@given(SHARED, MESSAGE_IDS, st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_the_standard_webhooks_library_verifies_what_we_sign(secret: str, message_id: str, data: object) -> None:
    now = int(time.time())
    body = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    signed = headers(sign([secret], message_id, now, body), message_id, now)
    assert standardwebhooks.Webhook(secret).verify(body, signed) == json.loads(body)


@given(SHARED, MESSAGE_IDS, st.integers(0, 2**33), st.text(st.characters(exclude_categories=["Cs"])))
def test_we_sign_as_the_standard_webhooks_library_signs(
    secret: str, message_id: str, timestamp: int, body: str
) -> None:
    theirs = standardwebhooks.Webhook(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
    assert sign([secret], message_id, timestamp, body.encode()) == theirs


def test_during_a_rotation_every_live_secret_signs_and_each_verifies() -> None:
    secrets, now = [new_secret(), new_secret(), new_private_key(), new_secret()], int(time.time())
    signature = sign(secrets, "evt_1", now, b"{}")
    assert [part.partition(",")[0] for part in signature.split(" ")] == ["v1", "v1", "v1a", "v1"]
    for secret in (secrets[0], secrets[1], secrets[3]):
        assert standardwebhooks.Webhook(secret).verify(b"{}", headers(signature, "evt_1", now)) == {}


def test_another_secret_does_not_verify() -> None:
    now = int(time.time())
    signed = headers(sign([new_secret()], "evt_1", now, b"{}"), "evt_1", now)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(new_secret()).verify(b"{}", signed)


@pytest.mark.parametrize(
    "changed",
    [("evt_2", 0, b'{"a":1}'), ("evt_1", 1, b'{"a":1}'), ("evt_1", 0, b'{"a": 1}')],
    ids=["id", "time", "body"],
)
def test_the_signature_covers_id_timestamp_and_body(changed: tuple[str, int, bytes]) -> None:
    secret, now = new_secret(), int(time.time())
    message_id, later, body = changed
    assert sign([secret], "evt_1", now, b'{"a":1}') != sign([secret], message_id, now + later, body)


def test_bodies_that_are_not_utf_8_are_signed_as_they_are() -> None:
    assert sign([SPEC_SECRET], "a", 1, b"\xff\0").startswith("v1,")


def test_decoded_secrets_sign_as_their_text_does() -> None:
    for secret in (SPEC_SECRET, ED25519_SECRET):
        assert sign([decode_secret(secret)], "a", 1, b"{}") == sign([secret], "a", 1, b"{}")


def test_new_secrets_have_32_random_bytes() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32


def test_a_new_private_key_signs_what_its_public_key_verifies() -> None:
    secret = new_private_key()
    public = public_key(secret)
    assert public.startswith("whpk_")
    signature = base64.b64decode(sign([secret], "a", 1, b"{}").removeprefix("v1a,"))
    verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    verifier.verify(signature, b"a.1.{}")


def test_the_public_key_is_the_one_of_the_rfc() -> None:
    assert public_key(ED25519_SECRET) == "whpk_" + base64.b64encode(ED25519_PUBLIC).decode()


def test_a_private_key_with_its_public_key_is_the_same_key() -> None:
    both = "whsk_" + base64.b64encode(ED25519_SEED + ED25519_PUBLIC).decode()
    assert sign([both], "a", 1, b"{}") == sign([ED25519_SECRET], "a", 1, b"{}")


def test_padding_may_be_missing() -> None:
    padded = "whsec_" + base64.b64encode(b"k" * 32).decode()
    assert decode_secret(padded) == decode_secret(padded.rstrip("=")) == b"k" * 32


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "starts with"),
        ("whsec", "starts with"),
        ("WHSEC_" + "QUJD" * 11, "starts with"),
        ("whpk_" + "QUJD" * 11, "starts with"),
        ("whsec_", "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "24 to 64 bytes"),
        ("whsec_not base64 at all, is it", "base64"),
        ("whsec_" + "é" * 40, "base64"),
        ("whsec_" + "A" * 41, "base64"),
        ("whsk_" + base64.b64encode(b"k" * 31).decode(), "32 bytes"),
        ("whsk_" + base64.b64encode(ED25519_SEED + b"k" * 32).decode(), "do not match"),
        ("whsk_!", "base64"),
    ],
)
def test_an_invalid_secret_is_refused_without_repeating_it(secret: str, reason: str) -> None:
    with pytest.raises(SecretError, match=reason) as refused:
        decode_secret(secret)
    material = secret.partition("_")[2]
    assert not material or material not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("length", [24, 64])
def test_secrets_of_24_to_64_bytes_are_accepted(length: int) -> None:
    assert decode_secret("whsec_" + base64.b64encode(b"k" * length).decode()) == b"k" * length


def test_a_shared_secret_has_no_public_key() -> None:
    with pytest.raises(SecretError, match="no public key"):
        public_key(SPEC_SECRET)


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(SecretError, match="no secret"):
        sign([], "a", 1, b"{}")
