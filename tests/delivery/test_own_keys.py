"""With our own keys every request is also signed as `v1a`, which anybody can verify."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.test import Client

from delivery.endpoints import load_endpoints
from delivery.jobs import Job
from delivery.own_keys import check_keys
from delivery.prepare import prepare
from delivery.signing import new_private_key
from partners.secrets import new_secret
from partners.services import create_partner, create_subscription

WELL_KNOWN = "/.well-known/webhook-keys.json"


@pytest.mark.django_db
@pytest.mark.servers
def test_a_request_verifies_with_the_shared_secret_and_with_each_public_key(settings: Any) -> None:
    secret = new_secret()
    settings.SIGNING_KEYS = [new_private_key(), new_private_key()]
    subscription = create_subscription(
        create_partner("Awesome Reviews"), "https://hooks.example.com/in", ["*"], secret=secret
    )
    endpoint = load_endpoints([subscription.id])[subscription.id]
    now = datetime.now(UTC)
    job = Job("dlv_1", "pending", 0, now, "evt_1", "orders.created", now, '{"id": 1}', "", endpoint)
    request = prepare(job, now, "test", 5.0)
    assert standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    kinds = [one.partition(",")[0] for one in request.headers["webhook-signature"].split()]
    assert kinds == ["v1", "v1a", "v1a"]
    content = b"evt_1.%d.%s" % (int(now.timestamp()), request.body)
    signatures = [one[4:] for one in request.headers["webhook-signature"].split() if one.startswith("v1a,")]
    for key, signature in zip(Client().get(WELL_KNOWN).json()["keys"], signatures, strict=True):
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_")))
        public.verify(base64.b64decode(signature), content)  # raises InvalidSignature


def test_without_keys_the_well_known_list_is_empty() -> None:
    answer = Client().get(WELL_KNOWN)
    assert (answer.status_code, answer.json()) == (200, {"keys": []})


@pytest.mark.parametrize("key", ["nonsense", "whsk_AAAA", "whsec_AAAA"])
def test_an_invalid_key_is_reported_without_showing_it(settings: Any, key: str) -> None:
    settings.SIGNING_KEYS = [key]
    (error,) = check_keys()
    assert error.id == "delivery.E004"
    assert key not in str(error)
    settings.SIGNING_KEYS = [new_private_key()]
    assert not check_keys()
