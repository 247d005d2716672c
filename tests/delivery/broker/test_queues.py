"""The facade that applications use."""

import time

import pytest
import redis

from delivery.broker import FairMessage, FairQueues, QueueLimits, QueueStats, connect
from tests.delivery.broker.manual_worker import ManualWorker
from tests.delivery.broker.servers import Broker, forget, line, ready_ids

pytestmark = pytest.mark.servers


def messages(queue: str, count: int, eta: float | None = None) -> list[FairMessage]:
    return [FairMessage(queue, f"{queue}:{n}", "task", (n,), eta=eta) for n in range(count)]


def test_a_large_batch_is_published_whole_and_in_order(queues: FairQueues, client: redis.Redis) -> None:
    assert queues.publish(messages("partner.a", 1234)) == 1234
    assert queues.size("partner.a") == client.llen("partner.a") == 1234
    assert ready_ids(client, "partner.a")[:3] == [f"partner.a:{n}" for n in range(3)]


def test_publishing_survives_a_server_that_has_forgotten_the_scripts(queues: FairQueues, client: redis.Redis) -> None:
    queues.publish(messages("partner.a", 1))
    client.script_flush()
    assert queues.publish(messages("partner.a", 2)) == 1


def test_an_eta_is_a_delay_by_the_publishers_clock(queues: FairQueues, client: redis.Redis) -> None:
    """However wrong that clock is."""
    queues.publish(messages("partner.a", 1, eta=time.time() + 5))
    (due_at,) = line(client, "fair:delayed:partner.a").values()
    server_s, _ = client.time()
    assert due_at - float(server_s) == pytest.approx(5, abs=2)


def test_an_eta_that_has_passed_is_now(queues: FairQueues) -> None:
    queues.publish(messages("partner.a", 1, eta=time.time() - 5))
    assert queues.stats()["partner.a"].ready == 1


def test_stats_describe_a_queue(queues: FairQueues, client: redis.Redis) -> None:
    queues.configure("partner.a", rate="10/s", max_in_flight=5, paused_until=2e9)
    queues.publish(messages("partner.a", 3))
    queues.publish(messages("partner.b", 2))
    queues.publish(messages("partner.c", 1, eta=time.time() + 100))
    ManualWorker(client).exchange(1)
    stats = queues.stats()
    assert set(stats) == {"partner.a", "partner.b", "partner.c"}
    paused = stats["partner.a"]
    assert (paused.ready, paused.delayed, paused.in_flight, paused.paused_until) == (3, 0, 0, 2e9)
    assert paused.tokens == pytest.approx(3.5)
    assert (stats["partner.b"].ready, stats["partner.b"].in_flight) == (1, 1)
    assert (stats["partner.c"].ready, stats["partner.c"].delayed) == (0, 1)
    assert queues.stats(["partner.nobody"]) == {"partner.nobody": QueueStats(0, 0, 0)}


def test_a_delayed_message_that_is_due_counts_as_ready(queues: FairQueues, client: redis.Redis) -> None:
    queues.publish(messages("partner.a", 3, eta=time.time() + 100))
    queues.scripts.clock = time.time() + 200  # and no worker has come since
    stats = queues.stats()["partner.a"]
    assert client.llen("partner.a") == 0
    assert (stats.ready, stats.delayed) == (3, 0)


def test_a_purge_drops_waiting_messages_and_keeps_leased_ones(queues: FairQueues, client: redis.Redis) -> None:
    queues.publish(messages("partner.a", 2500))
    queues.publish([FairMessage("partner.a", "later", "task", eta=time.time() + 100)])
    worker = ManualWorker(client)
    held = worker.exchange(1).messages
    assert queues.purge("partner.a") == 2500
    assert queues.size("partner.a") == 1
    worker.settle("ack", held)
    assert client.exists("fair:known:partner.a", "partner.a", "fair:delayed:partner.a") == 0
    assert queues.publish(messages("partner.a", 1)) == 1, "nothing of it is known any more"


def test_a_queue_that_is_emptied_and_has_no_limits_leaves_nothing(queues: FairQueues, client: redis.Redis) -> None:
    queues.configure("partner.a", rate="1/s", max_in_flight=3)
    queues.publish(messages("partner.a", 3))
    forget(queues, "partner.a")
    assert client.dbsize() == 0


def test_many_queues_are_configured_at_once(queues: FairQueues) -> None:
    queues.configure_many(QueueLimits(f"partner.p{n}", "5/s", 4) for n in range(1200))
    assert len(queues.names()) == 1200
    assert queues.limits("partner.p1199") == QueueLimits("partner.p1199", 5.0, 4, None, 2.25)


def test_workers_that_were_killed_do_not_live(queues: FairQueues, client: redis.Redis) -> None:
    """Even if no other worker is left to notice."""
    ManualWorker(client, "killed", clock=time.time() - 60).beat()
    assert (set(queues.workers()), queues.living_workers()) == ({"killed"}, 0)
    ManualWorker(client, "alive").beat(gap_s=1000)
    assert queues.living_workers() == 1


def test_a_wiped_server_is_noticed(queues: FairQueues, client: redis.Redis) -> None:
    assert queues.was_wiped()
    queues.mark()
    assert not queues.was_wiped()
    client.flushall()
    assert queues.was_wiped()


def test_applications_with_names_of_their_own_share_a_server(client: redis.Redis) -> None:
    one, other = FairQueues(client, prefix="shop."), FairQueues(client, prefix="shop.", global_prefix="app2:")
    assert one.publish(messages("shop.a", 2)) == 2
    assert other.publish(messages("shop.a", 1)) == 1
    assert (one.size("shop.a"), other.size("shop.a")) == (2, 1)
    assert client.llen("app2:shop.a") == 1


def test_a_broker_address_gives_a_client_with_timeouts(broker: Broker) -> None:
    client = connect(broker.url)
    assert client.ping()
    assert client.connection_pool.connection_kwargs["socket_timeout"] == 10
    assert connect("fairs://host:1/2").connection_pool.connection_class is redis.SSLConnection
