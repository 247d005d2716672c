"""A worker makes the deliveries of fan-outs partner by partner: one that takes long, or fails, holds up no other."""

import threading
from collections.abc import Iterator, Sequence
from functools import partial

import pytest
from django.db import OperationalError

from delivery.fan_out import Aside
from delivery.fan_outs import MOST_AT_ONCE, RETRY_S, FanOutMessage, FanOuts
from delivery.turns import Turns
from delivery.waits import offload, sleep
from tests.delivery.broker.waiting import until


class World:
    """Fan-outs with a made-up `make`: a step finishes up to `each` of those that it gets."""

    def __init__(self) -> None:
        self.turns = Turns("fan-outs", helpers=1)
        self.turns.start()
        self.fan_outs = FanOuts(self.turns, self.make)
        self.each = MOST_AT_ONCE
        self.steps: list[Sequence[str]] = []
        self.settled: dict[str, float | None] = {}
        self.slow: set[str] = set()
        self.unfinished: set[str] = set()
        self.errors: dict[str, Exception] = {}
        self.gate = threading.Event()

    def make(self, fan_out_ids: Sequence[str], aside: Aside) -> dict[str, bool]:
        self.steps.append(fan_out_ids)
        for one in fan_out_ids:
            if one in self.errors:
                raise self.errors[one]
        if self.slow.intersection(fan_out_ids):
            offload(self.gate.wait, 30)
        sleep(0.001)
        return {one: one in self.unfinished for one in fan_out_ids[: self.each]}

    def take(self, queue: str, *fan_out_ids: str) -> None:
        for one in fan_out_ids:
            self.fan_outs.take(FanOutMessage(one, queue, partial(self.settle, one), f"tag {one}"))

    def settle(self, fan_out_id: str, delay_s: float | None) -> None:
        assert fan_out_id not in self.settled, "once"
        self.settled[fan_out_id] = delay_s

    def wait(self, count: int) -> None:
        until(lambda: len(self.settled) == count, f"{count} settled messages")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.gate.set()
    made.turns.stop(10)


def names(count: int, of: str = "fan") -> list[str]:
    return [f"{of}_{number}" for number in range(count)]


def test_fan_outs_are_made_and_acknowledged_once(world: World) -> None:
    world.take("partner.a", *names(50))
    world.wait(50)
    assert set(world.settled.values()) == {None}
    assert [one for step in world.steps for one in step] == names(50)
    assert max(map(len, world.steps)) <= MOST_AT_ONCE
    assert not world.fan_outs.begun
    world.take("partner.a", "later")
    world.wait(51)


def test_one_that_has_more_to_make_goes_back_to_the_end_of_its_queue(world: World) -> None:
    world.unfinished = {"fan_1"}
    world.take("partner.a", *names(3))
    world.wait(3)
    assert world.settled == {"fan_0": None, "fan_1": 0.0, "fan_2": None}


def test_what_a_step_did_not_get_to_is_made_by_the_next(world: World) -> None:
    world.each = 2
    world.take("partner.a", *names(9))
    world.wait(9)
    assert list(world.settled) == names(9)


def test_a_partner_does_not_wait_for_another(world: World) -> None:
    world.slow = {"slow_0"}
    world.take("partner.a", *names(16, "slow"))
    until(lambda: bool(world.steps), "it begins")
    world.take("partner.b", *names(5))
    world.wait(5)
    assert [one.tag for one in world.fan_outs.begun] == ["tag slow_0"]
    world.gate.set()
    world.wait(21)


def test_while_postgresql_is_away_messages_come_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.errors = dict.fromkeys(names(3), OperationalError("the server closed the connection"))
    world.take("partner.a", *names(3))
    world.wait(3)
    assert set(world.settled.values()) == {RETRY_S}
    assert len(caplog.records) == 1


def test_one_with_a_fault_stops_no_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.errors = {"fan_1": ZeroDivisionError("a fault of ours")}
    world.take("partner.a", *names(10))
    world.wait(10)
    assert world.settled == {**dict.fromkeys(names(10)), "fan_1": RETRY_S}
    assert [record.message for record in caplog.records] == ["a fan-out raised an exception"]


def test_a_worker_that_stops_finishes_its_step_and_begins_no_other(world: World) -> None:
    world.slow = {"fan_0"}
    world.take("partner.a", *names(3))
    until(lambda: bool(world.steps), "it begins")
    world.turns.refuse()
    world.gate.set()
    world.turns.stop(10)
    assert world.settled == {"fan_0": None}
