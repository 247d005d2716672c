"""The scripts against a simple model: in whatever order operations come, the scripts do what a page of Python does.

The test sets the time. The model knows which messages each queue holds in which order, who has leased which, and what
the limits allow. Where the scripts may choose (which queues a fetch serves), it checks that the choice was fair.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from delivery.broker import FairMessage, FairQueues
from delivery.broker.envelope import encode
from delivery.broker.limits import QueueLimits
from delivery.broker.naming import FREE
from delivery.broker.rates import default_burst, parse_rate
from delivery.broker.room import FOR_ANY_ROOM, NOTHING
from tests.delivery.broker.manual_worker import Answer, Held, ManualWorker
from tests.delivery.broker.servers import Broker, lasting_keys, line, redis_binary

pytestmark = pytest.mark.servers

QUEUES = [f"partner.{name}" for name in "abc"]
WORKERS = ["one", "two"]
DEAD_AFTER_S, GAP_S = 10.0, 6.0
REFUNDED_S = 1.0
SLACK = 0.001
"""Tokens that rounding may give or take."""


@dataclass
class Lease:
    worker: str
    number: int
    order: int
    at: float


@dataclass
class Queue:
    ready: list[str] = field(default_factory=list)
    delayed: dict[str, float] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    limits: QueueLimits = field(default_factory=lambda: QueueLimits(""))
    full_at: float = 0.0

    @property
    def known(self) -> set[str]:
        return {*self.ready, *self.delayed, *self.leases}

    def ripen(self, now: float) -> None:
        for id_ in sorted((id_ for id_, at in self.delayed.items() if at <= now), key=lambda one: self.delayed[one]):
            del self.delayed[id_]
            self.ready.append(id_)

    @property
    def rate(self) -> float | None:
        return parse_rate(self.limits.rate)

    def tokens(self, now: float) -> float:
        if self.rate is None:
            return math.inf
        burst = default_burst(self.rate)
        owed = min(max(0.0, self.full_at - now), burst / self.rate)
        return burst - owed * self.rate

    def spend(self, count: int, now: float) -> None:
        if self.rate is not None:
            latest = now + default_burst(self.rate) / self.rate
            self.full_at = min(max(self.full_at, now), latest) + count / self.rate

    def refund(self, lease: Lease, now: float) -> None:
        """A postponed message was not sent. If that took long, the bucket may have been full again since."""
        if self.rate is not None and (lost_s := 1 / self.rate - max(0.0, now - lease.at - REFUNDED_S)) > 0:
            latest = now + default_burst(self.rate) / self.rate
            self.full_at = max(now, min(self.full_at, latest) - lost_s)

    def allowed(self, now: float, slack: float) -> int:
        """How many messages may be sent now; `slack`: tokens that rounding may add or remove."""
        if (self.limits.paused_until or 0) > now:
            return 0
        tokens, cap = self.tokens(now) + slack, self.limits.max_in_flight
        count = 0
        for id_ in self.ready:
            if tokens < 1:
                break
            count += 1
            tokens -= is_paid(id_)
        return count if cap is None else max(0, min(count, cap - len(self.leases)))

    @property
    def has_free_ones(self) -> bool:
        """Then it may get less than an equal share: each visit brings as many messages as there are tokens."""
        return self.rate is not None and not all(map(is_paid, self.ready))

    def put_back(self, ids: list[str]) -> None:
        """To the head, in the order in which they were fetched."""
        ids = sorted(ids, key=lambda id_: self.leases[id_].order)
        for id_ in ids:
            del self.leases[id_]
        self.ready = ids + self.ready


def is_paid(id_: str) -> bool:
    """Whether the rate limit counts the message."""
    return not id_.startswith(FREE)


class BrokerMachine(RuleBasedStateMachine):
    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.now = 1_800_000_000.0
        self.broker = FairQueues(self.client)
        self.workers = {name: ManualWorker(self.client, name) for name in WORKERS}
        self.queues = {name: Queue() for name in QUEUES}
        self.beats: dict[str, float] = {}
        self.lost: dict[str, int] = {}
        self.orders = 0
        self._set_clocks()

    def _set_clocks(self) -> None:
        self.broker.scripts.clock = self.now
        for worker in self.workers.values():
            worker.scripts.clock = self.now
        for queue in self.queues.values():
            queue.ripen(self.now)

    @rule(by=st.sampled_from([0.0013, 0.0517, 0.311, 1.0711, 4.3171, 7.7319, 61.171]))
    def time_passes(self, by: float) -> None:
        self.now += by
        self._set_clocks()

    @rule(
        queue=st.sampled_from(QUEUES),
        ids=st.lists(st.integers(0, 15), min_size=1, max_size=8),
        delay=st.integers(0, 3),
        is_first=st.sampled_from([False, False, True]),
    )
    def publish(self, queue: str, ids: list[int], delay: int, is_first: bool) -> None:
        self.time_passes(0.00001)  # no two messages are due at the same time
        model, new = self.queues[queue], 0
        delay_s = delay * 2.7183
        arguments: list[object] = [queue, len(ids)]
        for n, number in enumerate(ids):
            after = delay_s + n * 0.0101 if delay_s else 0.0
            id_ = f"m{number}" if number % 3 else f"{FREE}{number}"
            arguments += (id_, "first" if is_first else after, _encoded(queue, id_))
            if id_ not in model.known:
                new += 1
                if is_first:
                    model.ready.insert(0, id_)
                elif after:
                    model.delayed[id_] = self.now + after
                else:
                    model.ready.append(id_)
        assert self.broker.scripts.run("publish", *arguments) == new

    @rule(
        queue=st.sampled_from(QUEUES),
        rate=st.sampled_from([None, "1/s", "7/s", "30/m"]),
        cap=st.sampled_from([None, 0, 1, 3]),
        paused_for=st.sampled_from([None, 0.5, 5.0, math.inf]),
    )
    def configure(self, queue: str, rate: str | None, cap: int | None, paused_for: float | None) -> None:
        model = self.queues[queue]
        paused_until = None if paused_for is None else self.now + paused_for
        model.limits = QueueLimits(queue, rate, cap, paused_until)
        if rate is None:
            model.full_at = 0.0
        self.broker.configure_many([model.limits])

    @rule(worker=st.sampled_from(WORKERS), room=st.integers(1, 12), reserved=st.sampled_from([0, 0, 1, 5, 12]))
    def fetch(self, worker: str, room: int, reserved: int = 0) -> None:
        self.time_passes(0.00001)  # no two requests are at the same time
        open_room = max(0, room - reserved)
        answer = self._request(worker, room, open_room)
        self._fetched(worker, room, open_room, answer.messages)
        if len(answer.messages) < open_room:
            assert answer.left == NOTHING
        elif len(answer.messages) < room:
            assert answer.left != FOR_ANY_ROOM

    @rule(worker=st.sampled_from(WORKERS), room=st.integers(1, 12))
    def fetch_and_lose_the_answer(self, worker: str, room: int) -> None:
        self.time_passes(0.00001)  # no two requests are at the same time
        answer = self._request(worker, room, room)
        self._fetched(worker, room, room, answer.messages)
        self.lost[worker] = self.workers[worker].number

    @rule(worker=st.sampled_from(WORKERS))
    def a_lost_request_arrives_late(self, worker: str) -> None:
        if worker in self.lost:
            number = self.lost[worker]
            self.fetch(worker, 1)
            assert self.workers[worker].exchange(12, number=number).messages == []

    def _request(self, worker: str, room: int, open_room: int) -> Answer:
        """Repeats the request until served: due messages are left once to each waiting worker with much more room."""
        lost_since = self._reclaim(worker)
        for _ in WORKERS:
            answer = self.workers[worker].exchange(room, open_room=open_room, lost_since=lost_since)
            if answer.messages or answer.left == NOTHING:
                break
            lost_since = None
        return answer

    def _reclaim(self, worker: str) -> int | None:
        """The next request takes back what the lost one leased, before it fetches."""
        since = self.lost.pop(worker, None)
        if since is not None:
            for model in self.queues.values():
                model.put_back(
                    [id_ for id_, lease in model.leases.items() if lease.worker == worker and lease.number >= since]
                )
        return since

    def _fetched(self, worker: str, room: int, open_room: int, messages: list[Held]) -> None:
        self.beats.setdefault(worker, self.now)
        assert len(messages) <= room
        could = {name: model.allowed(self.now, SLACK) for name, model in self.queues.items()}
        owed = {name: model.allowed(self.now, -SLACK) for name, model in self.queues.items()}
        new = {name for name, model in self.queues.items() if not model.leases}
        shares = [name for name, model in self.queues.items() if not model.has_free_ones]
        got = {name: [held.id for held in messages if held.queue == name] for name in QUEUES}
        for name, ids in got.items():
            model = self.queues[name]
            assert ids == model.ready[: len(ids)], "first in, first out"
            assert len(ids) <= could[name], "within the limits"
            del model.ready[: len(ids)]
            model.spend(sum(map(is_paid, ids)), self.now)
            for held in messages:
                if held.queue == name:
                    model.leases[held.id] = Lease(worker, held.number, self.orders, self.now)
                    self.orders += 1
        if len(messages) < open_room:
            assert all(len(got[name]) >= owed[name] for name in QUEUES), "no queue waits while there is room"
        if len(messages) < room:
            assert all(got[name] for name in new if owed[name]), "reserved places are for queues with nothing leased"
        most = max(len(ids) for ids in got.values())
        assert all(len(got[name]) >= min(owed[name], most - 1) for name in shares), "an equal share for each"

    def _held(self) -> list[tuple[str, Held]]:
        return [
            (lease.worker, Held(name, id_, lease.number))
            for name, model in self.queues.items()
            for id_, lease in model.leases.items()
            if lease.number < self.lost.get(lease.worker, 1_000_000)
        ]

    @precondition(lambda self: self._held())
    @rule(data=st.data(), how=st.sampled_from(["ack", "ack", "ack", "tail", "head", "4.3219"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        worker, held = data.draw(st.sampled_from(self._held()))
        self.time_passes(0.00001)
        model = self.queues[held.queue]
        self.workers[worker].exchange(0, (how, held))
        if how == "head":
            model.put_back([held.id])
            return
        lease = model.leases.pop(held.id)
        if how == "tail":
            model.ready.append(held.id)
        elif how != "ack":
            model.delayed[held.id] = self.now + float(how)
            if is_paid(held.id):
                model.refund(lease, self.now)

    @rule(data=st.data(), worker=st.sampled_from(WORKERS))
    def connect_anew(self, data: st.DataObject, worker: str) -> None:
        """The worker lists the messages that it holds; its other leases go back."""
        self.time_passes(0.00001)
        held = [one for name, one in self._held() if name == worker]
        has = data.draw(st.lists(st.sampled_from(held), unique=True)) if held else []
        self.lost.pop(worker, None)
        self.workers[worker].exchange(0, *(("has", one) for one in has), lost_since=0)
        for name, model in self.queues.items():
            kept = {one.id for one in has if one.queue == name}
            model.put_back([id_ for id_, lease in model.leases.items() if lease.worker == worker and id_ not in kept])

    @precondition(lambda self: self._held())
    @rule(data=st.data(), how=st.sampled_from(["ack", "tail", "head"]))
    def settle_a_lease_of_another_worker_or_request(self, data: st.DataObject, how: str) -> None:
        worker, held = data.draw(st.sampled_from(self._held()))
        other = next(name for name in WORKERS if name != worker)
        self.workers[other].exchange(0, (how, held))
        self.workers[worker].exchange(0, (how, held._replace(number=held.number + 1)))

    @precondition(lambda self: self._held())
    @rule(data=st.data(), delay_s=st.sampled_from([0.7001, 3.3007]))
    def postpone(self, data: st.DataObject, delay_s: float) -> None:
        _, held = data.draw(st.sampled_from(self._held()))
        self.time_passes(0.00001)
        assert self.broker.scripts.run("postpone", held.queue, held.id, delay_s) == 1
        model = self.queues[held.queue]
        lease = model.leases.pop(held.id)
        if is_paid(held.id):
            model.refund(lease, self.now)
        model.delayed[held.id] = self.now + delay_s

    @rule(queue=st.sampled_from(QUEUES))
    def purge(self, queue: str) -> None:
        model = self.queues[queue]
        assert self.broker.purge(queue) == len(model.ready) + len(model.delayed)
        model.ready, model.delayed = [], {}

    @rule(worker=st.sampled_from(WORKERS))
    def beat(self, worker: str) -> None:
        if self.beats and self.now - max(self.beats.values()) > GAP_S:
            gap = self.now - max(self.beats.values())
            self.beats = {name: at + gap for name, at in self.beats.items()}
        self.beats[worker] = self.now
        dead = sorted(name for name, at in self.beats.items() if at <= self.now - DEAD_AFTER_S)
        count = sum(self._gone(name) for name in dead)
        found, given_back = self.workers[worker].beat(DEAD_AFTER_S, GAP_S)
        assert (sorted(found), given_back) == (dead, count)

    @rule(worker=st.sampled_from(WORKERS))
    def leave(self, worker: str) -> None:
        count = self._gone(worker)
        assert self.workers[worker].leave() == count

    def _gone(self, worker: str) -> int:
        self.beats.pop(worker, None)
        self.lost.pop(worker, None)
        count = 0
        for model in self.queues.values():
            ids = [id_ for id_, lease in model.leases.items() if lease.worker == worker]
            model.put_back(ids)
            count += len(ids)
        return count

    @invariant()
    def the_broker_holds_what_the_model_holds(self) -> None:
        stats = self.broker.stats(QUEUES)
        for name, model in self.queues.items():
            found = stats[name]
            assert found.ready + found.delayed == len(model.ready) + len(model.delayed)
            assert found.in_flight == len(model.leases)
            assert self.broker.size(name) == len(model.known)
            assert self.broker.missing(name, [f"m{n}" for n in range(16)]) == [
                f"m{n}" for n in range(16) if f"m{n}" not in model.known
            ]

    @invariant()
    def every_queue_with_messages_is_in_line_no_later_than_it_may_be_served(self) -> None:
        due, new = (line(self.client, f"fair:{kind}:partner.*") for kind in ("due", "new"))
        waiting = {name for name, model in self.queues.items() if model.ready or model.delayed}
        assert set(due) == waiting
        assert new == {name: due[name] for name in waiting if not self.queues[name].leases}
        for name in waiting:
            if self.queues[name].allowed(self.now, -SLACK) > 0:
                assert due[name] <= self.now + SLACK

    def teardown(self) -> None:
        """After a drain only configuration is left."""
        for queue in QUEUES:
            self.configure(queue, None, None, None)
        for worker in WORKERS:
            self.leave(worker)
        for _ in range(20):
            self.time_passes(10.0)
            self.fetch("one", 12)
            for worker, held in self._held():
                self.workers[worker].exchange(0, ("ack", held))
                del self.queues[held.queue].leases[held.id]
        assert not any(model.known for model in self.queues.values())
        self.leave("one")
        assert lasting_keys(self.client) == set()


def _encoded(queue: str, id_: str) -> bytes:
    return encode(FairMessage(queue, id_, "task"))


def test_the_scripts_do_what_the_model_does(client: redis.Redis) -> None:
    hold_against_the_model(client, examples=60)


def test_the_scripts_do_so_on_redis_as_well(tmp_path: Path) -> None:
    server = Broker(tmp_path, program=redis_binary())
    server.start()
    try:
        assert "valkey_version" not in server.client.info("server")
        hold_against_the_model(server.client, examples=20)
    finally:
        server.stop()


def hold_against_the_model(client: redis.Redis, examples: int) -> None:
    class Machine(BrokerMachine):
        pass

    Machine.client = client
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
