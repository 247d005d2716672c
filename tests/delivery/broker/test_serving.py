"""Which queue and worker is served when: the scripts, with manual workers, at times that the test sets."""

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import orjson
import pytest
import redis

from delivery.broker import FairMessage, FairQueues, QueueLimits
from delivery.broker.leases import Leases
from delivery.broker.naming import FREE
from delivery.broker.received import Lease, Received
from delivery.broker.room import FOR_ANY_ROOM, FOR_OPEN_ROOM, NOTHING
from tests.delivery.broker.manual_worker import ManualWorker
from tests.delivery.broker.servers import lasting_keys, line

pytestmark = pytest.mark.servers

START = 1_800_000_000.0


class Bench:
    """A broker and a worker with one clock."""

    def __init__(self, client: redis.Redis) -> None:
        self.queues = FairQueues(client)
        self.worker = ManualWorker(client)
        self.other = ManualWorker(client, "other")
        self.client = client
        self.at(0)

    def at(self, now: float) -> None:
        self.now = START + now
        for scripts in (self.queues.scripts, self.worker.scripts, self.other.scripts):
            scripts.clock = self.now

    def fill(self, name: str, count: int, first: int = 0) -> None:
        queue = f"partner.{name}"
        self.queues.publish([FairMessage(queue, f"{name}{n}", "task") for n in range(first, first + count)])

    def delay(self, name: str, id: str, delay_s: float) -> None:
        message = f'{{"properties": {{"delivery_tag": "{id}"}}}}'
        self.queues.scripts.run("publish", f"partner.{name}", 1, id, delay_s, message)

    def bells(self) -> set[str]:
        """The workers whose bells have rung since the last call."""
        found: list[bytes] = list(self.client.scan_iter("fair:bell:*"))
        for bell in found:
            self.client.delete(bell)
        return {bell.decode().removeprefix("fair:bell:") for bell in found}

    def drain(self, room: int = 100) -> list[str]:
        """Fetches and acknowledges."""
        messages = self.worker.exchange(room).messages
        self.worker.settle("ack", messages)
        return [held.id for held in messages]


@pytest.fixture
def bench(client: redis.Redis) -> Bench:
    return Bench(client)


def test_a_queue_is_first_in_first_out(bench: Bench) -> None:
    bench.fill("a", 5)
    assert bench.drain(3) + bench.drain(3) == ["a0", "a1", "a2", "a3", "a4"]


def test_a_first_message_overtakes_all_that_wait_in_its_queue(bench: Bench) -> None:
    def publish_first(name: str) -> None:
        bench.queues.publish([FairMessage("partner.a", name, "task", is_first=True)])

    bench.fill("a", 2)
    publish_first("x")
    publish_first("y")
    assert bench.drain() == ["y", "x", "a0", "a1"]
    bench.delay("a", "later", 30)
    publish_first("z")
    assert bench.drain() == ["z"]
    bench.at(30)
    publish_first("v")
    assert bench.drain() == ["v", "later"]
    publish_first("alone")
    assert bench.bells() == set(), "nobody waits"
    assert bench.drain() == ["alone"]


def test_queues_share_the_room_equally_however_full_they_are(bench: Bench) -> None:
    bench.fill("full", 1000)
    for name in ("b", "c", "d"):
        bench.fill(name, 10)
    assert Counter(id_[:4].rstrip("0123456789") for id_ in bench.drain(8)) == {"full": 2, "b": 2, "c": 2, "d": 2}


@pytest.mark.parametrize("room", [1, 3, 4, 7, 64])
def test_in_the_long_run_queues_get_equal_shares_whatever_the_room(bench: Bench, room: int) -> None:
    names = "abcdefghij"
    for name in names:
        bench.fill(name, 200)
    served: Counter[str] = Counter()
    for step in range(1, 200 // room + 5):
        bench.at(step * 0.001)
        served.update(id_[0] for id_ in bench.drain(room))
    assert max(served.values()) - min(served[name] for name in names) <= 1


def _with_backlogs(bench: Bench) -> None:
    """Eight queues, each of which was served ten times."""
    for name in "abcdefgh":
        bench.fill(name, 100)
    for step in range(1, 21):
        bench.at(step * 0.001)
        bench.drain(4)
    bench.at(0.0205)


def test_a_queue_that_was_idle_is_served_before_those_with_backlogs(bench: Bench) -> None:
    _with_backlogs(bench)
    bench.fill("z", 1)
    assert bench.drain(4)[0] == "z0"


def test_a_queue_that_comes_again_at_once_waits_for_all_that_were_served_before_it(bench: Bench) -> None:
    _with_backlogs(bench)
    bench.fill("z", 1)
    bench.drain(4)
    bench.fill("z", 1, first=1)
    served: list[str] = []
    for step in range(21, 24):
        bench.at(step * 0.001)
        served += bench.drain(4)
    assert served.index("z1") == 8, "each of the others once"


def test_a_queue_that_was_at_its_cap_goes_on_before_those_that_were_served_since(bench: Bench) -> None:
    bench.queues.configure("partner.z", max_in_flight=1)
    bench.fill("z", 2)
    held = bench.worker.exchange(1).messages
    _with_backlogs(bench)
    bench.worker.settle("ack", held)
    assert bench.drain(4)[0] == "z1"


@pytest.mark.parametrize("room", [1, 4])
def test_a_queue_with_a_message_for_later_gets_no_more_than_the_others(bench: Bench, room: int) -> None:
    """A partner whose endpoint fails always has one."""
    _with_backlogs(bench)
    bench.delay("z", "retry", 3600)
    served: Counter[str] = Counter()
    for step in range(30, 100):
        bench.fill("z", 1, first=step)
        bench.at(step * 0.001)
        served.update(id_[0] for id_ in bench.drain(room))
    assert max(served.values()) - min(served.values()) <= 1
    assert len(served) == 9


def test_a_backlog_is_served_however_many_light_queues_come(bench: Bench) -> None:
    bench.fill("backlog", 100)
    bench.drain(1)
    served: list[float] = []
    for step in range(1, 1001):
        bench.at(step * 0.01)
        bench.fill(f"light{step}-", 2)
        served += [bench.now - START for id_ in bench.drain(2) if id_.startswith("backlog")]
    assert len(served) >= 4
    assert max(after - before for before, after in pairwise(served)) < 2.1


def test_a_clock_that_was_put_back_keeps_no_queue_waiting(bench: Bench) -> None:
    bench.at(100)
    bench.fill("z", 1)
    bench.drain(1)
    bench.at(1)
    bench.fill("z", 1, first=1)
    assert bench.drain(1) == ["z1"]


def test_a_million_waiting_messages_add_nothing_to_the_wait_of_others(bench: Bench) -> None:
    """The server executes no more commands, and the others are served in the same order."""

    def serve_others() -> tuple[list[str], int]:
        before = _commands(bench.client)
        for name in "abc":
            bench.fill(name, 5)
        served = [id_ for _ in range(10) for id_ in bench.drain(4)]
        return [id_ for id_ in served if id_[0] in "abc"], _commands(bench.client) - before

    bench.queues.configure("partner.flood", max_in_flight=16)
    bench.fill("flood", 100)
    bench.worker.exchange(0)  # the server knows the script from now on
    few = serve_others()
    fill = "for _ = 1, 1000 do redis.call('LPUSH', KEYS[1], unpack(ARGV)) end"
    bench.client.eval(fill, 1, "partner.flood", *[f'{{"properties": {{"delivery_tag": "x{n}"}}}}' for n in range(1000)])
    bench.at(1)
    many = serve_others()
    assert bench.client.llen("partner.flood") > 1_000_000
    assert len(few[0]) == 15
    assert many == few


def _commands(client: redis.Redis) -> int:
    """Commands executed, including those that scripts call."""
    return int(client.info("stats")["total_commands_processed"])


def test_one_fetch_serves_a_thousand_queues_with_a_message_each(bench: Bench) -> None:
    bench.queues.publish([FairMessage(f"partner.p{n}", f"m{n}", "task") for n in range(1000)])
    served = [id_ for step in range(10) for id_ in bench.drain(100)]
    assert sorted(served) == sorted(f"m{n}" for n in range(1000))


def test_a_known_message_is_not_queued_again_until_it_is_acknowledged(bench: Bench) -> None:
    message = FairMessage("partner.a", "once", "task")
    assert bench.queues.publish([message, message]) == 1
    assert bench.queues.publish([message]) == 0
    (held,) = bench.worker.exchange(10).messages
    assert bench.queues.publish([message]) == 0
    assert bench.queues.missing("partner.a", ["once", "other"]) == ["other"]
    bench.worker.settle("ack", [held])
    assert bench.queues.missing("partner.a", ["once"]) == ["once"]
    assert bench.queues.publish([message]) == 1


@pytest.mark.parametrize("rate", ["1/s", "4/s", "50/s", "600/m", "1000/h"])
def test_a_rate_is_exact_over_all_workers(bench: Bench, rate: str) -> None:
    """Two workers that send 8 requests for each message that the rate allows."""
    bench.fill("a", 600)
    bench.queues.configure("partner.a", rate=rate)
    limits = bench.queues.limits("partner.a")
    assert isinstance(limits.rate, float)
    assert limits.burst is not None
    sent: list[float] = []
    step_s, length_s = 1 / limits.rate / 8, 100 / limits.rate
    while bench.now - START < length_s:
        for worker in (bench.worker, bench.other):
            messages = worker.exchange(50).messages
            worker.settle("ack", messages)
            sent += [bench.now] * len(messages)
        bench.at(bench.now - START + step_s)
    assert abs(len(sent) - limits.burst - 100) <= 2, "long-run average"
    for first in sent:
        window = [at for at in sent if first <= at < first + 1]
        assert len(window) <= limits.rate * 1 + limits.burst + 0.01, "any second within limit and burst"


def test_a_queue_that_is_served_late_loses_nothing_of_its_rate(bench: Bench) -> None:
    bench.fill("a", 100)
    bench.queues.configure("partner.a", rate="4/s")
    assert len(bench.drain()) == 2
    late = [n * 0.24 for n in range(1, 20)]  # never when a token comes, but before the next one does
    count = 0
    for at in late:
        bench.at(at)
        count += len(bench.drain())
    assert count == int(4 * late[-1] + 1e-6)


def test_a_changed_rate_applies_to_waiting_messages(bench: Bench) -> None:
    bench.fill("a", 100)
    bench.queues.configure("partner.a", rate="1/h")
    assert len(bench.drain()) == 1
    bench.at(1)
    assert bench.drain() == []
    bench.queues.configure("partner.a", rate="50/s")
    bench.at(2)
    assert len(bench.drain()) >= 13
    bench.queues.configure("partner.a")
    assert len(bench.drain()) == 100 - 1 - 13


def test_writing_the_same_limits_again_costs_no_place_and_no_token(bench: Bench) -> None:
    for name in "ab":
        bench.fill(name, 10)
    bench.queues.configure("partner.a", rate="1/s")
    assert bench.drain(1) == ["a0"]
    bench.at(5)
    for _ in range(3):
        bench.queues.configure("partner.a", rate="1/s")
        bench.queues.configure("partner.b")
    assert [id_[0] for id_ in bench.drain(2)] == ["b", "a"]


def test_a_queue_without_tokens_costs_no_room_and_is_due_when_the_next_one_comes(bench: Bench) -> None:
    bench.fill("limited", 20_000 // 100)
    bench.queues.configure("partner.limited", rate="1/s", burst=1)
    assert bench.drain(5) == ["limited0"]
    bench.fill("b", 3)
    assert bench.drain(5) == ["b0", "b1", "b2"]
    answer = bench.worker.exchange(5)
    assert answer.due_in_s == pytest.approx(1.0, abs=1e-4)
    assert answer.left == NOTHING
    bench.at(1)
    assert bench.drain(5) == ["limited1"]


def test_no_more_than_the_cap_are_in_flight_over_all_workers(bench: Bench) -> None:
    bench.fill("a", 10)
    bench.queues.configure("partner.a", max_in_flight=3)
    first, second = bench.worker.exchange(2), bench.other.exchange(10)
    assert [len(first.ids), len(second.ids)] == [2, 1]
    assert bench.other.fetch() == []
    bench.worker.settle("ack", first.messages[:1])
    assert bench.other.fetch() == ["a3"]
    assert bench.queues.stats(["partner.a"])["partner.a"].in_flight == 3


def test_slow_queues_cannot_fill_a_worker(bench: Bench) -> None:
    """A worker with 32 places, 8 of them kept for queues with nothing leased; queues that never settle."""
    for n in range(10):
        bench.fill(f"hangs{n}-", 100)
    held = len(bench.worker.exchange(32, open_room=24).messages)
    assert held == 24
    for _ in range(3):
        held += len(bench.worker.exchange(32 - held, open_room=max(0, 24 - held)).messages)
    assert held == 24, "the rest is kept for other queues"
    for name in "abc":
        bench.fill(name, 5)
    answer = bench.worker.exchange(8, open_room=0)
    assert sorted(answer.ids) == ["a0", "b0", "c0"], "one for each"
    assert answer.left == FOR_OPEN_ROOM, "without open room it must not send requests without end"
    bench.worker.settle("ack", [one for one in answer.messages if one.id == "b0"])
    assert bench.worker.exchange(1, open_room=0).ids == ["b1"], "a queue that settles quickly is served on"
    assert len(bench.other.exchange(100).messages) == 100, "another worker has room for all of them"


def test_a_queue_alone_may_take_all_room_that_is_open(bench: Bench) -> None:
    bench.fill("a", 100)
    assert len(bench.worker.exchange(32, open_room=24).messages) == 24
    assert bench.worker.exchange(8, open_room=0).ids == []


def test_a_raised_cap_applies_at_once(bench: Bench) -> None:
    bench.fill("a", 10)
    bench.queues.configure("partner.a", max_in_flight=1)
    assert bench.worker.fetch() == ["a0"]
    assert bench.worker.fetch() == []
    bench.queues.configure("partner.a", max_in_flight=4)
    assert bench.worker.fetch() == ["a1", "a2", "a3"]


def test_of_two_limits_for_a_queue_in_one_call_the_last_applies(bench: Bench) -> None:
    bench.fill("a", 10)
    bench.queues.configure_many([QueueLimits("partner.a", max_in_flight=0), QueueLimits("partner.a", max_in_flight=4)])
    assert bench.worker.fetch() == ["a0", "a1", "a2", "a3"]


def test_a_paused_queue_keeps_filling_and_comes_back_by_itself(bench: Bench) -> None:
    bench.queues.configure("partner.a", rate="100/s")
    bench.queues.pause("partner.a", START + 10)
    bench.fill("a", 2)
    assert bench.drain() == []
    assert bench.queues.stats(["partner.a"])["partner.a"].paused_until == START + 10
    bench.at(10)
    assert bench.drain() == ["a0", "a1"]
    assert bench.queues.limits("partner.a").rate == 100, "pausing changes no other limit"


def test_a_queue_paused_for_good_waits_until_it_is_resumed(bench: Bench) -> None:
    bench.fill("a", 1)
    bench.queues.pause("partner.a")
    bench.at(1_000_000)
    assert bench.drain() == []
    bench.queues.resume("partner.a")
    assert bench.drain() == ["a0"]
    assert bench.queues.limits("partner.a") == QueueLimits("partner.a")


def test_a_delayed_message_comes_when_it_is_due_in_the_order_of_the_times(bench: Bench) -> None:
    for name, delay_s in (("x", 5.0), ("y", 2.0), ("z", 0.0)):
        bench.delay("a", name, delay_s)
    assert bench.drain() == ["z"]
    assert bench.worker.exchange(5).due_in_s is None, "that is far away"
    bench.at(1)
    assert bench.worker.exchange(5).due_in_s == pytest.approx(1.0, abs=1e-4)
    bench.at(6)
    bench.fill("a", 1)
    assert bench.drain() == ["y", "x", "a0"]


def test_one_worker_is_enough_to_wake_up_for_what_is_due(bench: Bench) -> None:
    bench.delay("a", "x", 1.0)
    assert bench.worker.exchange(5).due_in_s is not None
    assert bench.other.exchange(5).due_in_s is None
    bench.delay("b", "y", 0.5)
    assert len(bench.bells()) == 1, "a worker must learn that the next message is due earlier now"
    assert bench.other.exchange(5).due_in_s == pytest.approx(0.5, abs=1e-4)


def test_one_worker_is_woken_and_wakes_the_next_when_it_leaves_work_behind(bench: Bench) -> None:
    bench.worker.exchange(5)
    bench.other.exchange(20)
    bench.queues.publish([FairMessage(f"partner.{name}", name, "task") for name in "abcdefgh"])
    assert bench.bells() == {"other"}, "the worker with the most room"
    assert bench.other.exchange(4).left == FOR_ANY_ROOM
    assert bench.bells() == {"worker"}
    assert bench.worker.exchange(3).left == FOR_ANY_ROOM
    assert bench.bells() == set(), "no worker has room"
    assert bench.other.exchange(4).left == NOTHING


def test_a_worker_that_flushes_settlements_goes_on_waiting_for_its_bell(bench: Bench) -> None:
    """As the heart does, if it beats before the worker's next request."""
    leases = Leases(bench.worker.scripts, max_answer_age_s=5)
    leases.set_reporter(lambda: None)
    bench.worker.name = leases.worker
    bench.queues.configure("partner.a", rate="1/h")
    bench.fill("a", 2)
    (held,) = bench.worker.exchange(10).messages
    leases.held[lease := Lease(held.queue, held.id.encode(), held.number)] = None
    leases.settle(lease)
    leases.flush()
    assert bench.queues.stats()["partner.a"].in_flight == 0
    bench.queues.configure("partner.a")
    assert bench.bells() == {leases.worker}


def test_a_message_that_a_worker_postpones_comes_again_after_that_time(bench: Bench) -> None:
    leases = Leases(bench.worker.scripts, max_answer_age_s=5)
    leases.set_reporter(lambda: None)
    bench.worker.name = leases.worker
    bench.fill("a", 1)
    answer = bench.worker.exchange(10)
    (held,), (raw,) = answer.messages, answer.raw
    leases.held[lease := Lease(held.queue, held.id.encode(), held.number)] = None
    message = Received(orjson.loads(raw), lease, SimpleNamespace(leases=leases))
    message.put_off(1.5)
    assert message.acknowledged, "no acknowledgement is needed as well"
    leases.flush()
    assert (bench.queues.stats()["partner.a"].delayed, leases.held) == (1, {})
    bench.at(1.4)
    assert bench.worker.fetch() == []
    bench.at(1.6)
    assert bench.worker.fetch() == ["a0"]


def test_a_request_that_only_reports_keeps_no_watch(bench: Bench) -> None:
    """No worker would wake up by its answer, so a waiting worker is woken to keep the watch."""
    bench.fill("a", 1)
    (held,) = bench.worker.exchange(5).messages
    bench.other.exchange(10)
    bench.worker.exchange(0, ("0.5", held), number=0)
    assert bench.bells() == {"other"}
    assert bench.other.exchange(10).due_in_s == pytest.approx(0.5, abs=1e-4)


def test_a_worker_leaves_due_messages_once_to_one_with_much_more_room(bench: Bench) -> None:
    bench.worker.exchange(10)
    bench.other.exchange(100)
    ManualWorker(bench.client, "idle", bench.now).exchange(90)
    bench.fill("a", 5)
    assert bench.bells() == {"other"}
    left = bench.worker.exchange(10)
    assert (left.ids, left.left) == ([], FOR_ANY_ROOM)
    assert bench.bells() == {"idle"}
    assert bench.worker.exchange(10).ids == ["a0", "a1", "a2", "a3", "a4"], "the other workers did not come"


def test_a_worker_that_takes_lost_leases_back_does_not_ring_its_own_bell(bench: Bench) -> None:
    """A script rings once: the messages would be left to a worker that sleeps on."""
    bench.fill("a", 1)
    bench.worker.exchange(20)  # its answer is lost
    bench.other.exchange(10)
    again = bench.worker.exchange(1, lost_since=1)
    assert (again.ids, bench.bells()) == (["a0"], {"other"})


def test_a_worker_takes_due_messages_beside_one_with_a_little_more_room(bench: Bench) -> None:
    bench.other.exchange(60)
    bench.worker.exchange(20)
    bench.fill("a", 5)
    assert len(bench.worker.exchange(20).ids) == 5


def test_an_answer_says_whether_a_queue_waits_for_a_settlement(bench: Bench) -> None:
    bench.queues.configure("partner.a", max_in_flight=2)
    bench.fill("a", 2)
    answer = bench.worker.exchange(5)
    assert not answer.is_awaited, "the queue has no more messages"
    bench.fill("a", 2, first=2)
    again = bench.worker.exchange(5, ("ack", answer.messages[0]))
    assert again.is_awaited
    assert not bench.other.exchange(5).is_awaited, "it holds none of the queue's messages"
    assert not bench.worker.exchange(5, ("ack", answer.messages[1])).is_awaited


def test_a_queue_that_is_paused_for_ever_waits_for_no_settlement(bench: Bench) -> None:
    bench.queues.pause("partner.a")
    bench.fill("a", 1)
    assert not bench.worker.exchange(5).is_awaited


def test_only_a_worker_with_open_room_is_woken_for_a_queue_with_leases(bench: Bench) -> None:
    bench.fill("a", 10)
    assert bench.worker.exchange(4, open_room=2).left == FOR_OPEN_ROOM
    assert bench.other.exchange(2, open_room=0).ids == []
    assert bench.bells() == set()
    bench.fill("b", 1)
    assert len(bench.bells()) == 1
    third = ManualWorker(bench.client, "third", bench.now)
    assert third.exchange(10, open_room=8).ids == ["b0", "a2", "a3", "a4", "a5", "a6", "a7", "a8"]


def test_messages_that_are_given_back_return_to_the_head_in_order(bench: Bench) -> None:
    bench.fill("a", 6)
    held = bench.worker.exchange(4).messages
    bench.worker.settle("head", list(reversed(held[1:])))
    assert bench.worker.fetch() == ["a1", "a2", "a3", "a4", "a5"]


def test_a_requeued_message_goes_to_the_end_marked_as_redelivered(bench: Bench) -> None:
    bench.fill("a", 2)
    held = bench.worker.exchange(1).messages
    bench.worker.settle("tail", held)
    answer = bench.worker.exchange(5)
    assert answer.ids == ["a1", "a0"]
    assert "redelivered" not in orjson.loads(answer.raw[0])["properties"]["delivery_info"]
    assert orjson.loads(answer.raw[1])["properties"]["delivery_info"]["redelivered"] is True


def test_the_leases_of_a_silent_worker_go_back_to_the_heads_marked_as_redelivered(bench: Bench) -> None:
    for name in "ab":
        bench.fill(name, 50)
    bench.worker.beat()
    bench.at(0.1)
    taken = [id_ for _ in range(3) for id_ in bench.worker.fetch(7)]
    for now in (4, 8):
        bench.at(now)
        assert bench.other.beat() == ([], 0)
    bench.at(10.2)
    assert bench.other.beat() == (["worker"], 21)
    answer = bench.other.exchange(100)
    for name in "ab":
        assert [id_ for id_ in answer.ids if id_[0] == name] == [f"{name}{n}" for n in range(50)]
    marked = [
        held.id
        for held, raw in zip(answer.messages, answer.raw, strict=True)
        if orjson.loads(raw)["properties"]["delivery_info"].get("redelivered")
    ]
    assert sorted(marked) == sorted(taken)


def test_no_worker_counts_as_dead_because_the_server_was_away(bench: Bench) -> None:
    bench.fill("a", 2)
    bench.worker.beat()
    bench.worker.fetch()
    bench.at(2)
    bench.other.beat()
    bench.at(600)  # no worker could beat
    assert bench.other.beat() == ([], 0)
    bench.at(604)
    assert bench.worker.beat() == ([], 0)


def test_a_worker_that_died_while_no_other_ran_is_found_soon_after_one_starts(bench: Bench) -> None:
    bench.fill("a", 1)
    bench.worker.beat()
    bench.worker.fetch()
    for now in (600, 602, 604, 606, 608):
        bench.at(now)
        assert bench.other.beat() == ([], 0)
    bench.at(610)
    assert bench.other.beat() == (["worker"], 1)


def test_a_clock_that_is_put_back_stops_nothing(bench: Bench) -> None:
    bench.fill("a", 100)
    bench.queues.configure("partner.a", rate="10/s")
    bench.fill("b", 10)
    bench.worker.beat()
    bench.worker.exchange(20)
    bench.at(-3600)
    bench.worker.beat()
    bench.at(-3599)
    ids = bench.worker.fetch(200)
    assert len([id_ for id_ in ids if id_[0] == "a"]) >= 3
    bench.other.beat()
    assert bench.other.beat() == ([], 0)


def test_an_acknowledgement_of_a_lost_lease_has_no_effect(bench: Bench) -> None:
    bench.fill("a", 1)
    (lost,) = bench.worker.exchange(1).messages
    bench.worker.leave()
    (again,) = bench.worker.exchange(1).messages
    bench.worker.settle("ack", [lost])
    assert bench.queues.stats(["partner.a"])["partner.a"].in_flight == 1
    bench.worker.settle("ack", [again])
    assert bench.queues.size("partner.a") == 0


def test_a_request_that_arrives_after_it_was_given_up_leases_nothing(bench: Bench) -> None:
    bench.fill("a", 3)
    bench.worker.exchange(1)  # 1: answered
    bench.worker.exchange(1)  # 2: executed, its answer lost
    assert bench.worker.exchange(1, lost_since=2).ids == ["a1"]  # 3
    assert bench.worker.exchange(1, number=2).ids == []
    assert bench.worker.fetch() == ["a2"]


def test_a_new_connection_keeps_the_leases_that_it_lists(bench: Bench) -> None:
    """For example after a failover to a replica that did not get the last acknowledgements."""
    bench.fill("a", 4)
    kept, *forgotten = bench.worker.exchange(4).messages
    bench.worker.exchange(0, ("has", kept), ("has", forgotten[0]._replace(number=99)), lost_since=0)
    assert bench.queues.stats(["partner.a"])["partner.a"].in_flight == 1
    assert bench.worker.fetch() == [held.id for held in forgotten]
    bench.worker.settle("ack", [kept])
    assert bench.queues.size("partner.a") == 3


def test_a_postponed_message_gives_its_token_back(bench: Bench) -> None:
    """Otherwise a partner's healthy endpoint would wait for the messages of another that is down."""
    bench.queues.configure("partner.a", rate="1/s")
    bench.fill("a", 4)
    for name in ("a0", "a1"):
        (held,) = bench.worker.exchange(4).messages
        assert held.id == name
        bench.worker.settle("30", [held])
    (held,) = bench.worker.exchange(4).messages
    assert bench.queues.scripts.run("postpone", "partner.a", held.id, 30) == 1
    assert [held.id for held in bench.worker.exchange(4).messages] == ["a3"]
    bench.fill("a", 1, first=4)
    assert bench.worker.fetch() == []
    bench.at(1)
    assert bench.worker.fetch() == ["a4"]


def test_the_rate_limit_does_not_count_free_messages(bench: Bench) -> None:
    bench.queues.configure("partner.a", rate="1/m", burst=1)
    free = [FairMessage("partner.a", f"{FREE}{n}", "task") for n in range(3)]
    bench.queues.publish(free)
    bench.fill("a", 2)
    for how in ("ack", "30", "tail"):
        (held,) = bench.worker.exchange(1).messages
        assert held.id.startswith(FREE)
        bench.worker.settle(how, [held])
    assert bench.queues.stats(["partner.a"])["partner.a"].tokens == 1
    assert bench.worker.fetch() == ["a0"]
    assert bench.worker.fetch() == [], "it was the only token"


def test_messages_that_are_postponed_one_after_another_cost_no_tokens(bench: Bench) -> None:
    """What the bucket gains while each of them is out is not subtracted, or nothing would come back."""
    bench.queues.configure("partner.a", rate="10/s", burst=2)
    bench.fill("a", 200)
    for step in range(1, 101):
        held = bench.worker.exchange(4).messages
        assert len(held) == 2
        bench.at(step * 0.02)
        bench.worker.settle("1000", held)
    assert len(bench.worker.exchange(4).messages) == 0
    bench.fill("a", 20, first=200)
    assert len(bench.worker.exchange(20).messages) == 2, "no more than the bucket holds"


def test_tokens_that_the_bucket_gained_in_a_long_time_are_not_given_back_as_well(bench: Bench) -> None:
    bench.queues.configure("partner.a", rate="1/s", burst=10)
    bench.fill("a", 40)
    late = bench.worker.exchange(40).messages
    assert len(late) == 10
    bench.at(9.99)
    sent = len(bench.worker.exchange(40).messages)
    assert sent == 9
    bench.at(11)
    bench.worker.settle("30", late)
    assert sent + len(bench.worker.exchange(40).messages) == 11, "ten at first and one since"


@pytest.mark.parametrize("taken_for_s", [0.01, 0.3, 0.9])
def test_postponed_messages_do_not_raise_the_average_rate(bench: Bench, taken_for_s: float) -> None:
    """As while another endpoint of the partner is down: half of what is taken is sent, the rest is postponed."""
    bench.queues.configure("partner.a", rate="20/s", burst=10)
    bench.fill("a", 2_000)
    sent = 0
    for step in range(int(30 / taken_for_s)):
        bench.at(step * taken_for_s)
        held = bench.worker.exchange(20).messages
        bench.at((step + 1) * taken_for_s)
        bench.worker.settle("1000", held[::2])
        bench.worker.settle("ack", held[1::2])
        sent += len(held[1::2])
    assert 160 < sent <= 30 * 20 + 10 + 10


def test_an_unreadable_message_is_kept_apart(bench: Bench) -> None:
    bench.fill("a", 2)
    held = bench.worker.exchange(1).messages
    bench.worker.settle("bury", held)
    assert bench.client.llen("fair:unreadable:partner.*") == 1
    assert bench.queues.size("partner.a") == 1


def test_a_postponed_message_comes_again_and_its_old_lease_is_void(bench: Bench) -> None:
    bench.fill("a", 1)
    (held,) = bench.worker.exchange(1).messages
    assert bench.queues.scripts.run("postpone", "partner.a", "a0", 1.5) == 1
    assert bench.queues.scripts.run("postpone", "partner.a", "a0", 1.5) == 0
    bench.worker.settle("ack", [held])
    assert bench.worker.fetch() == []
    bench.at(1.5)
    assert bench.worker.fetch() == ["a0"]


def test_a_list_that_was_filled_without_the_broker_is_adopted(bench: Bench) -> None:
    bench.client.lpush("partner.wild", '{"properties": {"delivery_tag": "wild"}}')
    assert bench.worker.fetch() == []
    assert bench.queues.scripts.run("adopt", "partner.wild", "partner.none") == 1
    assert bench.drain() == ["wild"]


def test_an_id_that_a_list_holds_twice_is_counted_once(bench: Bench) -> None:
    """Otherwise such a queue would seem to be at its cap for ever."""
    for message in ["no task", '{"properties": {"delivery_tag": "wild"}}'] * 2:
        bench.client.lpush("partner.wild", message)
    bench.queues.scripts.run("adopt", "partner.wild")
    held = bench.worker.exchange(10).messages
    assert len(held) == 4
    assert bench.queues.stats(["partner.wild"])["partner.wild"].in_flight == 3
    bench.worker.settle("ack", held)
    assert bench.queues.stats(["partner.wild"])["partner.wild"].in_flight == 0


def test_a_settlement_that_is_reported_twice_counts_once(bench: Bench) -> None:
    bench.queues.configure("partner.a", max_in_flight=2)
    bench.fill("a", 4)
    first, _ = bench.worker.exchange(2).messages
    bench.worker.settle("ack", [first, first])
    assert bench.queues.stats(["partner.a"])["partner.a"].in_flight == 1
    assert bench.worker.fetch() == ["a2"]


FOREIGN = ["partner.foreign", "fair:delayed:partner.foreign", "fair:bucket:partner.foreign"]


@pytest.mark.parametrize("key", FOREIGN)
def test_a_key_of_another_type_stops_no_other_queue(bench: Bench, key: str) -> None:
    bench.queues.configure("partner.foreign", rate="100/s")
    for name in ("foreign", "a"):
        bench.fill(name, 1)
    bench.client.delete(key)
    bench.client.hset(key, "of", "another program")
    assert "a0" in bench.drain(10)
    assert line(bench.client, "fair:due:partner.*")["partner.foreign"] > bench.now
    bench.client.delete(key)
    bench.fill("foreign", 1, first=1)
    bench.at(11)
    assert "foreign1" in bench.drain(10)


@pytest.mark.parametrize("how", ["leave", "dead", "lost", "head", "tail", "30"])
def test_messages_that_cannot_be_put_back_stay_leased(bench: Bench, how: str) -> None:
    """The counts fit the leases in any case: a queue that seemed to be at its cap would get nothing for ever."""
    for name in ("a", "b", "foreign"):
        bench.queues.configure(f"partner.{name}", max_in_flight=2)
        bench.fill(name, 2)
    bench.worker.beat()
    held = bench.worker.exchange(6).messages
    key = "fair:delayed:partner.foreign" if how == "30" else "partner.foreign"
    bench.client.hset(key, "of", "another program")
    if how == "leave":
        bench.worker.leave()
    elif how == "lost":
        bench.worker.exchange(0, lost_since=1)
    elif how == "dead":
        bench.at(5)
        bench.other.beat()
        bench.at(10.2)
        assert bench.other.beat() == (["worker"], 4)
    else:
        bench.worker.settle(how, held)
    bench.client.delete(key)
    counts = {name: of.in_flight for name, of in bench.queues.stats().items()}
    assert counts == {"partner.a": 0, "partner.b": 0, "partner.foreign": 2}
    bench.at(41)
    assert sorted(bench.other.fetch(10)) == ["a0", "a1", "b0", "b1"]


def test_after_a_drain_only_configuration_is_left(client: redis.Redis) -> None:
    worker, queues = ManualWorker(client), FairQueues(client)  # by the server's clock: keys expire
    queues.configure("partner.a", rate="1000/s", max_in_flight=1000)
    queues.publish([FairMessage(f"partner.{name}", f"{name}{n}", "task") for name in "ab" for n in range(20)])
    worker.beat()
    while held := worker.exchange(7).messages:
        worker.settle("ack", held)
    worker.leave()
    assert lasting_keys(client) == {"fair:limits:partner.*"}
