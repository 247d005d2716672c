"""The breaker opens when an endpoint is down, lets one probe through, and closes when that succeeds."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import redis

from delivery.breaker import FAILURES_IN_A_ROW, FIRST_PERIOD_S, LONGEST_PERIOD_S, REFRESH_S, Breaker, Opened
from delivery.breaker_store import SharedBreakers
from tests.clocks import Clock
from tests.delivery.broker.waiting import until


class Memory:
    """The state in Valkey, shared by the breakers of several processes."""

    def __init__(self) -> None:
        self.opened: dict[str, Opened] = {}
        self.probes: set[str] = set()

    def read(self) -> Mapping[str, Opened]:
        return dict(self.opened)

    def open(self, subscription_id: str, opened: Opened) -> None:
        self.opened[subscription_id] = opened
        self.probes.discard(subscription_id)

    def close(self, subscription_id: str) -> None:
        self.opened.pop(subscription_id, None)
        self.probes.discard(subscription_id)

    def take_probe(self, subscription_id: str, for_s: float) -> bool:
        first = subscription_id not in self.probes
        self.probes.add(subscription_id)
        return first

    def leave_probe(self, subscription_id: str) -> None:
        self.probes.discard(subscription_id)


@pytest.fixture
def shared() -> Memory:
    return Memory()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(shared: Memory, clock: Clock) -> Breaker:
    return Breaker(shared, clock)


def fail(breaker: Breaker, times: int = FAILURES_IN_A_ROW) -> list[Opened | None]:
    return [breaker.saw("sub", failed=True) for _ in range(times)]


def test_ten_failures_in_a_row_open_the_breaker_once(breaker: Breaker, clock: Clock) -> None:
    answers = fail(breaker)
    assert answers == [None] * 9 + [Opened(clock.now + FIRST_PERIOD_S, FIRST_PERIOD_S)]
    assert breaker.postponed_until("sub") == clock.now + FIRST_PERIOD_S
    assert breaker.postponed_until("other") is None


def test_a_success_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 9)
    breaker.saw("sub", failed=False)
    assert fail(breaker, 9) == [None] * 9


def test_a_share_of_failures_in_the_window_opens_it_and_thirty_per_cent_do_not(breaker: Breaker) -> None:
    for number in range(100):
        assert breaker.saw("thirty", failed=number % 10 < 3) is None
    opened = [breaker.saw("eighty", failed=number % 5 != 0) for number in range(40)]
    assert any(opened)


def test_one_probe_passes_when_the_time_is_over(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += FIRST_PERIOD_S
    assert breaker.postponed_until("sub") is None
    assert breaker.postponed_until("sub") == clock.now + FIRST_PERIOD_S


def test_a_process_that_may_not_probe_does_not_ask_again_at_once(
    breaker: Breaker, shared: Memory, clock: Clock
) -> None:
    fail(breaker)
    assert breaker.answers_at_once("sub")
    clock.now += FIRST_PERIOD_S
    shared.probes.add("sub")  # another process has it
    assert not breaker.answers_at_once("sub")
    assert breaker.postponed_until("sub") == clock.now + FIRST_PERIOD_S
    assert breaker.answers_at_once("sub")
    shared.probes.clear()  # which was lost
    assert breaker.postponed_until("sub") == clock.now + FIRST_PERIOD_S
    clock.now += REFRESH_S
    assert breaker.postponed_until("sub") is None


def test_a_successful_probe_closes_the_breaker_everywhere(breaker: Breaker, shared: Memory, clock: Clock) -> None:
    other = Breaker(shared, clock)
    fail(breaker)
    clock.now += FIRST_PERIOD_S
    assert other.postponed_until("sub") is None
    other.saw("sub", failed=False)
    clock.now += REFRESH_S
    assert breaker.postponed_until("sub") is None
    assert shared.opened == {}
    assert fail(breaker, 9) == [None] * 9, "the failures of before are forgotten"


def test_the_process_whose_probe_succeeded_sends_at_once(breaker: Breaker, shared: Memory, clock: Clock) -> None:
    shared.opened["other"] = Opened(clock.now + 60, 60)
    fail(breaker)
    clock.now += FIRST_PERIOD_S
    assert breaker.postponed_until("sub") is None
    breaker.saw("sub", failed=False)
    assert breaker.postponed_until("sub") is None
    assert breaker.postponed_until("other") is not None
    assert fail(breaker, 9) == [None] * 9


def test_a_probe_that_was_not_sent_is_left_to_the_next_one(breaker: Breaker, shared: Memory, clock: Clock) -> None:
    fail(breaker)
    breaker.saw_nothing("sub")  # was in progress when the breaker opened
    clock.now += FIRST_PERIOD_S
    for _ in range(3):
        assert breaker.postponed_until("sub") is None
        assert breaker.postponed_until("sub") is not None
        breaker.saw_nothing("sub")
    assert shared.opened["sub"].period_s == FIRST_PERIOD_S
    assert Breaker(shared, clock).postponed_until("sub") is None, "of any process"


@pytest.mark.servers
@pytest.mark.usefixtures("valkey")
def test_a_probe_that_ended_or_was_given_back_or_is_lost_can_be_taken_in_valkey() -> None:
    one, other = SharedBreakers(), SharedBreakers()
    for ends in (one.leave_probe, one.close, lambda pk: one.open(pk, Opened(time.time() + 5, FIRST_PERIOD_S))):
        assert other.take_probe("sub_left", 60)
        assert not other.take_probe("sub_left", 60)
        ends("sub_left")
    assert one.take_probe("sub_left", 0.05)
    until(lambda: other.take_probe("sub_left", 60), "it is lost")
    other.close("sub_left")
    other.forget_counts(["sub_left"])


def test_breakers_that_are_not_shared_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Valkey:
        is_away = True

        def delete(self, _: str) -> None:
            if self.is_away:
                raise redis.ConnectionError("refused")

    caplog.set_level("INFO")
    valkey: Any = Valkey()
    shared = SharedBreakers(valkey)

    shared.leave_probe("sub")
    shared.leave_probe("sub")
    valkey.is_away = False
    shared.leave_probe("sub")

    assert [record.message for record in caplog.records] == ["workers do not share their breakers", "going on"]


def test_each_failed_probe_doubles_the_time_up_to_a_limit(breaker: Breaker, shared: Memory, clock: Clock) -> None:
    fail(breaker)
    periods = []
    for _ in range(8):
        clock.now = shared.opened["sub"].until
        assert breaker.postponed_until("sub") is None
        breaker.saw("sub", failed=True)
        periods.append(shared.opened["sub"].period_s)
    assert periods == [10, 20, 40, *[LONGEST_PERIOD_S] * 5]


def test_failures_that_were_in_progress_when_the_breaker_opened_change_nothing(
    breaker: Breaker, shared: Memory
) -> None:
    fail(breaker, FAILURES_IN_A_ROW + 5)
    assert shared.opened["sub"].period_s == FIRST_PERIOD_S


def test_another_process_learns_of_an_open_breaker(breaker: Breaker, shared: Memory, clock: Clock) -> None:
    other = Breaker(shared, clock)
    fail(breaker)
    assert other.postponed_until("sub") == clock.now + FIRST_PERIOD_S


def test_old_failures_leave_the_window(breaker: Breaker, clock: Clock) -> None:
    for number in range(19):
        assert breaker.saw("sub", failed=number % 4 != 3) is None
    clock.now += 61
    assert breaker.saw("sub", failed=True) is None


def test_a_clock_that_is_set_back_delays_nothing(breaker: Breaker, shared: Memory, clock: Clock) -> None:
    fail(breaker)
    breaker.refresh()
    clock.now -= 900
    shared.close("sub")  # another process did
    breaker.refresh()
    assert breaker.postponed_until("sub") is None


def test_a_clock_that_is_set_back_does_not_prevent_a_probe(breaker: Breaker, shared: Memory, clock: Clock) -> None:
    fail(breaker)
    clock.now += FIRST_PERIOD_S
    shared.probes.add("sub")  # another process has it
    assert breaker.postponed_until("sub") is not None
    clock.now -= 900
    shared.open("sub", Opened(clock.now, FIRST_PERIOD_S))  # as it reads by the new time; the probe was lost
    assert breaker.postponed_until("sub") is None
