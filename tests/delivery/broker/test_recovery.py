"""Workers, connections and servers that fail and come back."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import redis

from delivery.broker import FairMessage, FairQueues
from tests.delivery.broker.servers import Broker, ready_ids
from tests.delivery.broker.test_worker import in_broker, is_drained, notes, slow
from tests.delivery.broker.waiting import until
from tests.delivery.broker.workers import Workers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


def test_a_killed_workers_messages_come_back_within_15_s_at_the_head_and_marked(
    workers: Workers, queues: FairQueues
) -> None:
    queues.configure("partner.a", max_in_flight=3)
    workers.start("one")
    queues.publish([*slow("a", 3, 60), *notes("a", 5, 3)])
    workers.wait_for(3, "started")
    workers.start("two")
    workers.kill("one")
    killed = time.time()
    runs = workers.wait_for(6, "started")[3:]
    assert max(run.at for run in runs) - killed < 15
    assert sorted(run.value for run in runs) == ["a0", "a1", "a2"]
    assert all(run.redelivered for run in runs)
    assert workers.runs() == [], "the messages behind them still wait: the cap holds"


def test_a_worker_that_was_stopped_for_long_does_no_harm_when_it_goes_on(
    workers: Workers, queues: FairQueues, client: redis.Redis
) -> None:
    """Its messages were leased to another worker; its own acknowledgements have no effect."""
    workers.start("one", threads=2, dead_after_s=1)
    queues.publish(slow("a", 2, 3))
    workers.wait_for(2, "started")
    workers.signal("one", signal.SIGSTOP)
    workers.start("two", threads=2, dead_after_s=1)
    workers.wait_for(2)
    queues.publish(notes("b", 20))
    workers.wait_for(22)
    workers.signal("one", signal.SIGCONT)
    workers.wait_for(24)
    queues.publish(notes("c", 20))
    workers.wait_for(44)
    assert Counter(run.value for run in workers.runs() if run.queue != "partner.a") == Counter(
        f"{p}{n}" for p in "bc" for n in range(20)
    )
    until(lambda: is_drained(client), "nothing is leased for ever")


def test_a_long_task_of_a_living_worker_is_never_given_away(workers: Workers, queues: FairQueues) -> None:
    """Five times as long as a worker may be silent."""
    workers.start("one", dead_after_s=1)
    workers.start("two", dead_after_s=1)
    queues.publish(slow("a", 4, 5))
    workers.wait_for(4)
    assert Counter(run.value for run in workers.runs("started")) == Counter(f"a{n}" for n in range(4))


def test_cut_connections_give_nothing_back_and_repeat_nothing(
    workers: Workers, queues: FairQueues, client: redis.Redis
) -> None:
    workers.start("one", threads=16)
    queues.publish([*slow("a", 4, 3), *notes("b", 2000)])
    workers.wait_for(4, "started")
    for _ in range(10):
        client.client_kill_filter(_type="normal", skipme=True)
        workers.wait_for_another()
    workers.wait_for(2004)
    assert Counter(run.value for run in workers.runs()) == Counter(
        [*(f"a{n}" for n in range(4)), *(f"b{n}" for n in range(2000))]
    )
    until(lambda: is_drained(client), "nothing is leased for ever")


def test_a_worker_survives_a_server_that_restarts_empty(
    workers: Workers, queues: FairQueues, client: redis.Redis, broker: Broker
) -> None:
    workers.start("one")
    queues.publish([*slow("a", 2, 2), *notes("b", 5)])
    workers.wait_for(5)
    broker.stop()
    broker.start()
    assert queues.was_wiped()
    queues.publish([FairMessage("partner.b", f"new{n}", "note", (f"new{n}",)) for n in range(5)])
    workers.wait_for(12)
    assert Counter(run.value for run in workers.runs("started")) == Counter(["a0", "a1"])
    until(lambda: is_drained(client), "acknowledgements of forgotten messages leave no key")


def test_a_server_that_lost_its_last_second_blocks_no_queue(tmp_path: Path) -> None:
    """Acknowledged messages appear as leased again, to a living worker that does not hold them."""
    broker = Broker(tmp_path, durable=True)
    broker.start()
    queues, workers = FairQueues(broker.client), Workers(broker, tmp_path)

    def in_flight() -> int:
        return queues.stats(["partner.a"])["partner.a"].in_flight

    try:
        queues.configure("partner.a", max_in_flight=4)
        queues.publish(slow("a", 4, 1))
        workers.start("one")
        until(lambda: in_flight() == 4, "all are leased")
        (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
        kept = log.stat().st_size
        workers.wait_for(4)
        until(lambda: in_flight() == 0, "all are acknowledged")
        broker.stop()
        os.truncate(log, kept)
        broker.start()
        queues.publish(notes("a", 4, 4))
        workers.wait_for(12)  # the messages that appeared as leased come again
        until(lambda: is_drained(broker.client), "nothing is leased for ever")
    finally:
        workers.kill_all()
        broker.stop()


def test_a_durable_server_forgets_nothing_over_a_restart(tmp_path: Path) -> None:
    """Leases and limits are kept, and settlements of the time without a server are reported when it is back."""
    broker = Broker(tmp_path, durable=True)
    broker.start()
    queues, workers = FairQueues(broker.client), Workers(broker, tmp_path)
    try:
        queues.configure("partner.b", rate="1/h")
        workers.start("one", threads=4, dead_after_s=3)
        queues.publish([*slow("a", 2, 1), *slow("c", 1, 4), *notes("b", 5)])
        workers.wait_for(3, "started")
        workers.wait_for(1)
        broker.stop()
        until(lambda: len(workers.runs()) >= 3, "two tasks end while the server is away")
        broker.start()
        queues.publish(notes("d", 3))
        runs = workers.wait_for(7)
        assert Counter(run.value for run in runs) == Counter(["a0", "a1", "c0", "b0", "d0", "d1", "d2"])
        until(lambda: in_broker(queues, "partner.a") == (0, 0, 0), "acknowledged after all")
        assert in_broker(queues, "partner.b") == (4, 0, 0)
    finally:
        workers.kill_all()
        broker.stop()


def test_a_frozen_server_makes_no_living_worker_look_dead(workers: Workers, queues: FairQueues, broker: Broker) -> None:
    workers.start("one", dead_after_s=1)
    workers.start("two", dead_after_s=1)
    queues.publish(slow("a", 12, 4))
    workers.wait_for(12, "started")
    broker.freeze()
    frozen = time.monotonic()
    until(lambda: time.monotonic() - frozen > 2, "twice as long as a worker may be silent")
    broker.thaw()
    workers.wait_for(12)
    assert len(workers.runs("started")) == 12


def test_a_warm_shutdown_gives_back_at_once_what_it_has_not_started(
    workers: Workers, queues: FairQueues, client: redis.Redis
) -> None:
    """While the running tasks finish. The prefetch is four for each thread, a quarter of it reserved."""
    workers.start("one", threads=2, multiplier=4)
    queues.publish([*slow("a", 6, 5), *notes("a", 3, 6)])
    workers.wait_for(2, "started")
    until(lambda: in_broker(queues, "partner.a") == (3, 0, 6), "it holds six")
    workers.signal("one", signal.SIGTERM)
    until(lambda: in_broker(queues, "partner.a") == (7, 0, 2), "four are back", 4)
    assert workers.runs() == [], "the two still run"
    assert ready_ids(client, "partner.a") == [f"a{n}" for n in range(2, 9)]
    workers.stop("one")
    assert in_broker(queues, "partner.a") == (7, 0, 0)
    assert sorted(run.value for run in workers.runs("started")) == ["a0", "a1"]
    assert not client.exists("fair:workers:partner.*"), "it has left"


def test_a_cold_shutdown_leaves_nothing_leased(workers: Workers, queues: FairQueues) -> None:
    workers.start("one", threads=2)
    queues.publish(slow("a", 4, 1))
    workers.wait_for(2, "started")
    workers.signal("one", signal.SIGQUIT)
    workers.processes.pop("one").wait(20)
    stats = queues.stats(["partner.a"])["partner.a"]
    assert stats.in_flight == 0
    assert stats.ready >= 2
