import base64
import hashlib
import hmac
import time

import pytest

from recart_hooks.demo.receiver import Arrival, Receiver

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"id":"evt_1","data":{}}'


@pytest.fixture
def arrivals() -> list[Arrival]:
    return []


@pytest.fixture
def receiver(arrivals: list[Arrival]) -> Receiver:
    made = Receiver(arrivals.append, port=1)
    made.secrets.update({"/awesome-reviews": SECRET, "/loyal-llama": SECRET})
    return made


def signed(event_id: str, key: bytes = KEY) -> dict[str, str]:
    """Headers as Standard Webhooks describes them."""
    timestamp = str(int(time.time()))
    content = f"{event_id}.{timestamp}.".encode() + BODY
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"Webhook-Id": event_id, "Webhook-Timestamp": timestamp, "Webhook-Signature": f"v1,{signature}"}


def test_a_signed_delivery_is_taken(receiver: Receiver, arrivals: list[Arrival]) -> None:
    assert receiver.receive("/awesome-reviews", signed("evt_1"), BODY) == 204
    assert [(one.event_id, one.is_verified, one.try_number) for one in arrivals] == [("evt_1", True, 1)]


@pytest.mark.parametrize("headers", [signed("evt_1", b"another key"), {"Webhook-Id": "evt_1"}, {}])
def test_a_delivery_that_is_not_signed_by_us_is_refused(
    receiver: Receiver, arrivals: list[Arrival], headers: dict[str, str]
) -> None:
    assert receiver.receive("/awesome-reviews", headers, BODY) == 401
    assert not arrivals[0].is_verified


def test_the_failing_partner_fails_the_first_try_of_every_eighth_event(receiver: Receiver) -> None:
    first_tries = [receiver.receive("/loyal-llama", signed(f"evt_{number}"), BODY) for number in range(1, 17)]

    assert [number for number, status in enumerate(first_tries, 1) if status == 503] == [8, 16]
    assert receiver.receive("/loyal-llama", signed("evt_8"), BODY) == 204


def test_nobody_listens_elsewhere(receiver: Receiver, arrivals: list[Arrival]) -> None:
    assert receiver.receive("/other", signed("evt_1"), BODY) == 404
    assert arrivals == []
