"""Real Celery workers on fair queues beside ordinary queues."""

import time
from collections import Counter
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Queue

from delivery.broker import FairMessage, FairQueues, register
from tests.delivery.broker.servers import Broker, lasting_keys
from tests.delivery.broker.waiting import until
from tests.delivery.broker.workers import Workers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

ONE = ["one@test"]


def notes(partner: str, count: int, first: int = 0) -> list[FairMessage]:
    queue = f"partner.{partner}"
    return [FairMessage(queue, f"{partner}{n}", "note", (f"{partner}{n}",)) for n in range(first, first + count)]


def slow(partner: str, count: int, seconds: float) -> list[FairMessage]:
    queue = f"partner.{partner}"
    return [FairMessage(queue, f"{partner}{n}", "slow", (f"{partner}{n}", seconds)) for n in range(count)]


def in_broker(queues: FairQueues, queue: str) -> tuple[int, int, int]:
    stats = queues.stats([queue])[queue]
    return stats.ready, stats.delayed, stats.in_flight


def is_drained(client: redis.Redis) -> bool:
    """Whether only living workers' keys, configuration and expiring keys are left."""
    kept = ("fair:workers:", "fair:waiting:", "fair:fences:", "fair:limits:", "_kombu.binding")
    return all(key.startswith(kept) for key in lasting_keys(client))


@pytest.fixture
def producer(broker: Broker) -> Celery:
    app = Celery("producer", broker=broker.url)
    register(app)
    app.conf.task_queues = [Queue("plain")]
    app.conf.task_default_queue = "plain"
    return app


def test_all_fair_queues_are_served_as_one_and_nothing_is_left_behind(
    workers: Workers, queues: FairQueues, client: redis.Redis
) -> None:
    workers.start()
    queues.publish([message for partner in "abc" for message in notes(partner, 30)])
    runs = workers.wait_for(90)
    assert Counter(run.value for run in runs) == Counter(f"{p}{n}" for p in "abc" for n in range(30))
    assert all(run.queue == f"partner.{run.value[0]}" for run in runs), "a task knows its queue"
    until(lambda: is_drained(client), "only configuration is left")


def test_tasks_sent_by_celery_itself_take_part(workers: Workers, producer: Celery, client: redis.Redis) -> None:
    """`apply_async` with an undeclared queue: now, later and in a batch, beside an ordinary queue."""
    workers.start()
    producer.send_task("note", ("now",), queue="partner.a")
    producer.send_task("note", ("plain",))
    started = time.time()
    producer.send_task("note", ("later",), queue="partner.a", countdown=1.5)
    with producer.producer_pool.acquire() as sender, sender.batch(max_size=10):  # type: ignore[attr-defined]
        for n in range(25):
            producer.send_task("note", (f"batch{n}",), queue="partner.b", producer=sender)
    runs = {run.value: run for run in workers.wait_for(28)}
    assert runs["now"].queue == "partner.a"
    assert runs["plain"].queue == "plain"
    assert runs["batch24"].queue == "partner.b"
    assert 1.4 < runs["later"].at - started < 3
    assert not client.keys("_kombu.binding*partner*"), "nothing is declared for a fair queue"


def test_a_retry_waits_in_the_broker_and_comes_back_to_its_queue(
    workers: Workers, queues: FairQueues, client: redis.Redis
) -> None:
    workers.start(threads=2)
    queues.publish([FairMessage("partner.a", "again", "retried", ("again", 1.5))])
    first = workers.wait_for(1)[0]
    until(lambda: in_broker(queues, "partner.a") == (0, 1, 0), "the retry is in the broker, and no worker holds it")
    queues.publish(notes("b", 20))
    workers.wait_for(21)
    again = workers.wait_for(22)[-1]
    assert again.queue == first.queue == "partner.a"
    assert 1.4 < again.at - first.at < 3
    until(lambda: is_drained(client), "only configuration is left")


def test_many_retries_cost_a_worker_nothing(workers: Workers, queues: FairQueues, producer: Celery) -> None:
    """Celery raises the prefetch count for each task with an ETA that a worker holds; it must hold none."""
    workers.start()
    now = time.time()
    queues.publish([FairMessage("partner.a", f"l{n}", "note", (n,), eta=now + 3600) for n in range(500)])
    queues.publish(notes("b", 10))
    workers.wait_for(10)
    inspect = producer.control.inspect(ONE, timeout=10)
    assert (inspect.stats() or {})["one@test"]["prefetch_count"] == 8
    assert inspect.scheduled() == {"one@test": []}


def test_a_rate_holds_over_several_workers(workers: Workers, queues: FairQueues) -> None:
    rate = 20.0
    queues.configure("partner.a", rate=f"{rate}/s")
    queues.configure("partner.b", rate="1/s")
    for name in ("one", "two"):
        workers.start(name, threads=3)  # too few for one alone
    queues.publish([*slow("a", 140, 0.2), *slow("b", 100, 0.2)])
    at = sorted(run.at for run in workers.wait_for(126, "started") if run.queue == "partner.a")
    burst = queues.limits("partner.a").burst or 0
    took = at[-1] - at[0]
    assert (len(at) - burst) / took == pytest.approx(rate, rel=0.04), "so few messages are too few for 2 %"
    jitter_s = 0.1  # between the grant and the start of the task
    for first in at:
        assert len([one for one in at if first <= one < first + 1]) <= rate * (1 + jitter_s) + burst
    assert len({run.pid for run in workers.runs("started")}) == 2, "both worked"


def test_removing_a_limit_applies_at_once(workers: Workers, queues: FairQueues) -> None:
    queues.configure("partner.a", rate="1/h")
    workers.start()
    queues.publish(notes("a", 20))
    workers.wait_for(1)
    lifted = time.time()
    queues.configure("partner.a")
    assert workers.wait_for(20)[-1].at - lifted < 1


def test_a_hanging_partner_delays_no_other(workers: Workers, queues: FairQueues) -> None:
    """It takes as many threads as its cap, and no healthy message waits behind its messages."""
    queues.configure("partner.hangs", max_in_flight=4)
    workers.start(threads=8)
    queues.publish(slow("hangs", 50, 30))
    workers.wait_for(4, "started")
    for n in range(40):
        sent = time.time()
        queues.publish(notes("healthy", 1, n))
        assert workers.wait_for(n + 1)[-1].at - sent < 0.5
    assert len(workers.runs("started")) == 4


def test_ten_hanging_partners_delay_no_other(workers: Workers, queues: FairQueues) -> None:
    """Their caps together would fill the worker, but a quarter of its threads is for partners with nothing leased."""
    workers.start(threads=64)
    for n in range(10):
        queues.configure(f"partner.hangs{n}-", max_in_flight=8)
        queues.publish(slow(f"hangs{n}-", 20, 60))
    workers.wait_for(48, "started")
    waits = []
    for n in range(40):
        sent = time.time()
        queues.publish(notes("healthy", 1, n))
        waits.append(workers.wait_for(n + 1)[-1].at - sent)
    assert sorted(waits)[20] < 0.5
    assert len(workers.runs("started")) <= 52, "those that came when only reserved threads were free got one each"


def test_a_message_of_a_stock_producer_in_an_empty_queue_is_found(workers: Workers, broker: Broker) -> None:
    """A stock producer writes to the list only."""
    workers.start(dead_after_s=2)
    stock = Celery("stock", broker=broker.url.replace("fair://", "redis://"))
    stock.conf.task_queues = [Queue("partner.wild")]
    stock.send_task("note", ("wild",), queue="partner.wild")
    assert workers.wait_for_value("wild").queue == "partner.wild"


def test_a_flood_adds_nothing_to_the_wait_of_others(workers: Workers, queues: FairQueues) -> None:
    queues.publish(notes("flood", 20_000))
    workers.start()
    workers.wait_for(50)
    waits = []
    for n in range(20):
        sent = time.time()
        queues.publish(notes("b", 1, n))
        waits.append(workers.wait_for_value(f"b{n}").at - sent)
    assert sorted(waits)[10] < 0.2
    assert queues.stats(["partner.flood"])["partner.flood"].ready > 1000, "the flood is still there"


def test_an_idle_worker_does_next_to_nothing(workers: Workers, queues: FairQueues, client: redis.Redis) -> None:
    workers.start()
    queues.configure("partner.slow", rate="1/h")
    queues.publish(notes("slow", 10))
    workers.wait_for(1)
    before = int(client.info("stats")["total_commands_processed"])
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 3, "three seconds")
    commands = int(client.info("stats")["total_commands_processed"]) - before
    assert commands < 100, "calls from scripts are counted too"


def test_remote_control_and_events_work_as_usual(workers: Workers, queues: FairQueues, producer: Celery) -> None:
    workers.start()
    inspect = producer.control.inspect(ONE, timeout=10)
    assert inspect.ping() == {"one@test": {"ok": "pong"}}
    assert {queue["name"] for queue in (inspect.active_queues() or {})["one@test"]} == {"partner.*", "plain"}
    producer.control.enable_events(ONE)
    seen: list[str] = []
    with producer.connection() as connection:
        receiver = producer.events.Receiver(
            connection, handlers={"*": lambda event: seen.append(f"{event['type']} {event.get('uuid', '')}")}
        )
        listening = receiver.itercapture(limit=None, timeout=10, wakeup=False)
        next(listening)  # the worker's heartbeat
        queues.publish(notes("a", 1))
        while "task-succeeded a0" not in seen:
            next(listening)
    assert {"task-received a0", "task-started a0"} <= set(seen)


def test_consuming_can_be_cancelled_and_resumed(workers: Workers, queues: FairQueues, producer: Celery) -> None:
    workers.start()
    producer.control.cancel_consumer("partner.*", destination=ONE, reply=True, timeout=10)
    queues.publish(notes("a", 5))
    producer.send_task("note", ("plain",))
    assert [run.value for run in workers.wait_for(1)] == ["plain"]
    producer.control.add_consumer("partner.*", destination=ONE, reply=True, timeout=10)
    assert len(workers.wait_for(6)) == 6


def test_purging_all_queues_by_celery_empties_the_fair_ones(broker: Broker, queues: FairQueues) -> None:
    register()
    queues.publish([*notes("a", 3), *notes("b", 4)])
    with Connection(broker.url) as connection:
        channel: Any = connection.default_channel
        assert channel.queue_purge("partner.*") == 7
    assert queues.size("partner.a") == 0
