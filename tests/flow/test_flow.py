"""Events published to NATS arrive at endpoints signed, unchanged and once, after retries and when Valkey is wiped.

Kills and other faults are in tests/faults.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from delivery.broker import FairQueues
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(240)]

DATA = '{ "n": %d, "total": 1.10, "big": 123456789012345678901234567890, "z": "é\\u00e9", "a": [1e5, -0.0] }'


def events(count: int) -> list[tuple[str, str, bytes]]:
    """Events with new ids: JetStream remembers ids for two minutes, even when the stream is purged."""
    run = uuid.uuid4().hex[:8]
    return [("orders.created", f"{run}-{n}", (DATA % n).encode()) for n in range(count)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system")) as running:
        yield running


def delivered(system: System, count: int) -> None:
    """Waits until `count` deliveries have succeeded."""

    def done() -> bool:
        return system.count("SELECT count(*) FROM delivery_delivery WHERE status = 'succeeded'") >= count

    system.wait_until(done, f"{count} deliveries", 90)


@pytest.fixture(autouse=True)
def _clean(system: System) -> Iterator[None]:
    yield
    system.stop_all()
    system.forget()


def test_events_arrive_signed_and_exactly_as_published_although_every_tenth_fails_at_first(
    system: System, receiver: Receiver
) -> None:
    (to,) = system.seed(
        [{"name": "A", "subscriptions": [{"url": receiver.url("/fail-every/10"), "event_types": ["orders.*"]}]}]
    )
    system.start("bridge", "worker-1", "worker-2")
    system.publish(events(200))
    delivered(system, 200)
    by_id = {request.webhook_id: request for request in receiver.requests}
    assert len(by_id) == 200
    for event_id, request in by_id.items():
        Webhook(to.secret).verify(request.body, dict(request.headers))
        data = (DATA % int(event_id.partition("-")[2])).encode()
        assert request.body.endswith(b',"data":' + data + b"}")
        assert json.loads(request.body)["id"] == event_id
    assert len(receiver.requests) == 220
    assert system.count("SELECT count(*) FROM delivery_attempt WHERE error = 'http_status'") == 20
    assert system.count("SELECT count(*) FROM delivery_delivery WHERE attempt_count = 2") == 20


def test_a_wiped_valkey_is_filled_again_from_postgresql(system: System, receiver: Receiver) -> None:
    (to,) = system.seed(
        [{"name": "C", "rate_limit": "40/s", "subscriptions": [{"url": receiver.url(), "event_types": ["orders.*"]}]}]
    )
    system.start("bridge", "worker-1", "beat")
    system.publish(events(300))
    receiver.wait_for(20, timeout_s=60)
    system.valkey.flushall()
    delivered(system, 300)
    posts = Counter(request.webhook_id for request in receiver.requests)
    assert len(posts) == 300
    assert sum(count - 1 for count in posts.values()) <= 16
    limits = FairQueues(system.valkey).limits(f"partner.{to.partner_id}")
    assert limits.rate == 40, "the limit came back as well"


def test_many_subscriptions_of_a_partner_get_every_event_although_a_worker_is_killed_and_valkey_wiped(
    system: System, receiver: Receiver
) -> None:
    urls = [receiver.url(f"/slow?s=0.005&n={number}") for number in range(30)]
    many = [{"url": url, "event_types": ["orders.*"]} for url in urls]
    system.seed([{"name": "Many", "subscriptions": many}, {"name": "One", "subscriptions": many[:1]}])
    system.start("bridge", "worker-1", "worker-2", "beat")
    system.publish(events(40))
    receiver.wait_for(100, timeout_s=60)
    system.kill("worker-1")
    receiver.wait_for(400, timeout_s=60)
    system.valkey.flushall()
    system.start("worker-1")
    delivered(system, 40 * 31)
    posts = Counter((request.webhook_id, request.path) for request in receiver.requests)
    assert len(posts) == 40 * 30
    assert sum(posts.values()) - 40 * 31 <= 3 * 16, "only what was in flight is repeated"
    system.wait_until(lambda: system.count("SELECT count(*) FROM delivery_fanout") == 0, "the last fan-out to end")
    assert system.manage("verify") == "all invariants hold\n"
