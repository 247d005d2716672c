"""Each kind of endpoint fault is recorded with its own error class and leads to a retry."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.broker import FairQueues
from recart_hooks.ports import free_port
from tests.certificates import new_authority
from tests.flow.system import System
from tests.flow.test_flow import events
from tests.receiver import Receiver, over_tls

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(240)]

EXPECTED = {
    "/status/500": "http_status",
    "/hang": "timeout",
    "/reset": "reset",
    "/redirect": "redirect",
    "/endless": "response_too_large",
    "/garbage": "invalid_response",
    "refused": "refused",
    "untrusted": "tls",
}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "system") as running:
        yield running


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver whose certificate comes from an unknown authority."""
    with Receiver(on_connect=over_tls(new_authority(tmp_path).server()), scheme="https") as listening:
        yield listening


def test_each_fault_has_its_error_class_and_is_tried_again(
    system: System, receiver: Receiver, untrusted: Receiver
) -> None:
    system.start("bridge", "worker-1")
    urls = {what: receiver.url(what) for what in EXPECTED if what.startswith("/")}
    urls |= {"refused": f"http://127.0.0.1:{free_port()}/", "untrusted": untrusted.url()}
    system.seed(
        [
            {"name": what, "subscriptions": [{"url": url, "event_types": ["orders.*"], "timeout_s": 2}]}
            for what, url in urls.items()
        ]
    )
    system.publish(events(1))
    twice = "SELECT count(*) FROM delivery_attempt WHERE number = 2"
    system.wait_until(lambda: system.count(twice) >= len(EXPECTED), "a second try at each endpoint", 90)
    found = dict(
        system.query(
            """
            SELECT p.name, string_agg(DISTINCT a.error, ',') FROM delivery_attempt a
            JOIN delivery_delivery d ON d.id = a.delivery_id JOIN partners_partner p ON p.id = d.partner_id
            WHERE a.number <= 2 GROUP BY p.name
            """
        )
    )
    assert found == EXPECTED


def test_a_partner_made_while_workers_run_is_served_within_seconds_and_a_410_ends_its_subscription(
    system: System, receiver: Receiver
) -> None:
    system.start("bridge", "worker-1")
    system.wait_until(lambda: "ready." in system.log_end(500), "a worker that is ready")
    (made,) = system.seed([{"name": "New", "subscriptions": [{"url": receiver.url(), "event_types": ["orders.*"]}]}])
    system.publish(events(1))
    receiver.wait_for(1, timeout_s=10)
    (gone,) = system.seed(
        [{"name": "Gone", "subscriptions": [{"url": receiver.url("/status/410"), "event_types": ["orders.*"]}]}]
    )
    system.publish(events(1))
    disabled = "SELECT disabled_reason FROM partners_subscription WHERE id = %s"
    system.wait_until(lambda: system.query(disabled, gone.subscription_id) == [("gone",)], "a disabled subscription")
    assert system.query(disabled, made.subscription_id) == [("",)]
    status = "SELECT status, attempt_count FROM delivery_delivery WHERE subscription_id = %s"
    assert system.query(status, gone.subscription_id) == [("dead", 1)]
    assert system.count("SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'FAILURE'") == 1


def test_a_dead_endpoint_is_left_alone_and_served_when_it_is_back(system: System) -> None:
    system.start("bridge", "worker-1")
    port = free_port()
    (to,) = system.seed(
        [{"name": "Down", "subscriptions": [{"url": f"http://127.0.0.1:{port}/ok", "event_types": ["orders.*"]}]}]
    )
    system.publish(events(200))
    system.wait_until(lambda: system.valkey.hlen("breakers") == 1, "an open breaker")
    queues, queue = FairQueues(system.valkey), f"partner.{to.partner_id}"
    system.wait_until(lambda: queues.stats([queue])[queue].paused_until is not None, "the queue waits for a probe")
    attempts = system.count("SELECT count(*) FROM delivery_attempt")
    assert attempts < 60, "an open breaker lets probes through, not the backlog"
    with Receiver(port=port) as receiver:
        succeeded = "SELECT count(*) FROM delivery_delivery WHERE status = 'succeeded' AND subscription_id = %s"
        system.wait_until(lambda: system.count(succeeded, to.subscription_id) == 200, "200 deliveries", 100)
        assert len({request.webhook_id for request in receiver.requests}) == 200
    assert system.valkey.hlen("breakers") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how busy a thread is (delivery.sending.guard)")
def test_an_endpoint_that_keeps_openssl_busy_for_ever_delays_nobody(system: System, receiver: Receiver) -> None:
    """Its certificate does not matter: the handshake never gets that far."""
    system.start("bridge", "worker-1")
    with Receiver(on_connect=endless_handshake, scheme="https") as hostile:
        _, busy = system.seed(
            [
                {"name": "Healthy", "subscriptions": [{"url": receiver.url(), "event_types": ["orders.*"]}]},
                {"name": "Busy", "subscriptions": [{"url": hostile.url(), "event_types": ["orders.*"]}]},
            ]
        )
        for _ in range(10):
            system.publish(events(20))
        receiver.wait_for(200, timeout_s=30)
        tried = """
            SELECT count(*) FROM delivery_attempt a JOIN delivery_delivery d ON d.id = a.delivery_id
            WHERE d.subscription_id = %s AND a.error = 'invalid_response'
        """
        system.wait_until(lambda: system.count(tried, busy.subscription_id) > 0, "an attempt that failed")
        assert system.count(tried, busy.subscription_id) <= 32, "in quarantine, nothing more is sent"


def endless_handshake(connection: socket.socket) -> socket.socket:
    connection.recv(10_000)
    while True:
        connection.sendall(b"\x16\x03\x03\x00\x04\0\0\0\0" * 1000)  # HelloRequests
