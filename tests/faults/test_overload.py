"""A flood more than fifty times as fast as its partner's endpoint, beside a healthy partner.

The endpoint sustains 25 requests per second: 2 at a time, 80 ms each. During the flood the network to PostgreSQL is
slow, so that the bridge takes fewer events than are published. OVERLOAD_S is how long the flood lasts: 20 s by default,
because everything published must be delivered afterwards at the rate of a small machine.
"""

import asyncio
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import nats
import psutil
import pytest
from nats.js.errors import NotFoundError

from tests import behaviours
from tests.faults.run import Stream, the_broker_is_empty
from tests.flow.system import System
from tests.receiver import Receiver

LASTS_S = float(os.environ.get("OVERLOAD_S", "20"))
SUSTAINABLE = 25
MOST_MB = 300
"""The most resident memory that each of our processes may use, whatever is waiting."""
BATCH = 2_000

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(autouse=True)
def _partners(_running: None, system: System, receiver: Receiver) -> None:
    system.query("UPDATE partners_partner SET max_in_flight = 2 RETURNING id")
    system.query("UPDATE partners_subscription SET url = %s RETURNING id", receiver.url("/flooded"))
    receiver.answer("/flooded", lambda exchange: behaviours.slow(exchange, {"s": "0.08"}))
    healthy = {"url": receiver.url("/healthy"), "event_types": ["carts.*"]}
    system.seed([{"name": "Healthy", "subscriptions": [healthy]}])


def test_a_flood_is_held_in_jetstream_and_harms_nobody_else(system: System, receiver: Receiver) -> None:
    healthy, flood = Stream(system, per_s=20, event_type="carts.updated"), 0
    with healthy.flowing(), watching(system) as peaks:
        receiver.wait_for(20, timeout_s=60)
        system.wires["postgres"].slow(0.05)
        begin = time.monotonic()
        while time.monotonic() - begin < LASTS_S:
            system.publish([("orders.created", f"flood-{begin}-{flood + n}", b'{"n": 1}') for n in range(BATCH)])
            flood += BATCH
        rate = flood / (time.monotonic() - begin)
        system.wires["postgres"].mend()
        taken = "SELECT count(*) FROM delivery_event WHERE type = 'orders.created'"
        system.wait_until(lambda: system.count(taken) >= flood, "everything to be taken", 300)
        healthy.flow_on(40)
        open_up(system, receiver)
        sent = "SELECT count(*) FROM delivery_delivery WHERE status = 'succeeded' AND event_type = 'orders.created'"
        system.wait_until(lambda: system.count(sent) >= flood, "everything to be delivered", 900)
    delay_s = waited(system)
    print(f"{flood} events at {rate:.0f}/s, {rate / SUSTAINABLE:.0f} x; healthy p99 {delay_s:.2f} s; {dict(peaks)}")
    system.wait_until(lambda: system.unfinished() == 0, "the rest")
    assert rate > 50 * SUSTAINABLE
    assert peaks.pop("waiting in JetStream") > 1000
    assert {name: mb for name, mb in peaks.items() if mb > MOST_MB} == {}
    assert delay_s < 5
    posts = Counter(request.webhook_id for request in receiver.requests)
    assert len(posts) == flood + healthy.published
    assert max(posts.values()) == 1
    the_broker_is_empty(system)
    system.manage("verify")


def open_up(system: System, receiver: Receiver) -> None:
    """Makes the endpoint quick again and raises its partner's cap."""
    receiver.answer("/flooded", behaviours.ok)
    system.query("UPDATE partners_partner SET max_in_flight = 64 RETURNING id")


def waited(system: System) -> float:
    """The 99th percentile, in seconds, from when a healthy partner's event was stored to its request.

    Before it is stored, the event waits in JetStream behind the flood: a stream is first in, first out.
    """
    rows = system.query(
        """
        SELECT extract(epoch FROM a.started_at - e.received_at)::float8 FROM delivery_attempt a
        JOIN delivery_delivery d ON d.id = a.delivery_id JOIN delivery_event e ON e.id = d.event_id
        WHERE e.type = 'carts.updated'
        """
    )
    return float(statistics.quantiles([row[0] for row in rows], n=100)[98])


@contextmanager
def watching(system: System) -> Iterator[Counter[str]]:
    """Collects the peaks: megabytes of each process, and messages waiting in JetStream."""
    peaks: Counter[str] = Counter()
    stopping = threading.Event()

    def sample() -> None:
        while not stopping.wait(0.5):
            peaks["waiting in JetStream"] = max(peaks["waiting in JetStream"], asyncio.run(_lag(system.stack.nats_url)))
            for name, process in system.processes.items():
                with suppress(psutil.NoSuchProcess):
                    peaks[name] = max(peaks[name], psutil.Process(process.pid).memory_info().rss // 2**20)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    yield peaks
    stopping.set()
    thread.join()


async def _lag(url: str) -> int:
    client = await nats.connect(url)
    try:
        info = await client.jetstream().consumer_info("EVENTS", "recart-hooks")
    except NotFoundError:  # the first bridge of the system still starts
        return 0
    finally:
        await client.close()
    return info.num_pending or 0
