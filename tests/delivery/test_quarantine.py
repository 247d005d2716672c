"""How long nothing is sent to a partner whose endpoint kept the worker busy."""

import pytest

from delivery.quarantine import FIRST_PERIOD_S, LONGEST_PERIOD_S, Quarantine
from tests.clocks import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quarantine(clock: Clock) -> Quarantine:
    return Quarantine(clock)


def period_s(quarantine: Quarantine, clock: Clock) -> float:
    until = quarantine.until("ptr_1")
    assert until is not None
    return until - clock.now


def test_it_ends_by_itself(quarantine: Quarantine, clock: Clock) -> None:
    assert quarantine.until("ptr_1") is None
    quarantine.add("ptr_1")
    assert period_s(quarantine, clock) == FIRST_PERIOD_S
    assert quarantine.until("ptr_2") is None
    clock.now += FIRST_PERIOD_S
    assert quarantine.until("ptr_1") is None


def test_each_period_is_twice_as_long_up_to_a_limit(quarantine: Quarantine, clock: Clock) -> None:
    lasted = []
    for _ in range(9):
        quarantine.add("ptr_1")
        lasted.append(period_s(quarantine, clock))
        clock.now += lasted[-1]
    assert lasted[:3] == [FIRST_PERIOD_S, 2 * FIRST_PERIOD_S, 4 * FIRST_PERIOD_S]
    assert lasted[-2:] == [LONGEST_PERIOD_S, LONGEST_PERIOD_S]


def test_attempts_that_began_before_do_not_lengthen_it(quarantine: Quarantine, clock: Clock) -> None:
    for _ in range(5):
        quarantine.add("ptr_1")
        clock.now += 1
    assert period_s(quarantine, clock) == FIRST_PERIOD_S - 5


def test_it_is_forgotten_in_time(quarantine: Quarantine, clock: Clock) -> None:
    quarantine.add("ptr_1")
    clock.now += FIRST_PERIOD_S + LONGEST_PERIOD_S
    quarantine.add("ptr_1")
    assert period_s(quarantine, clock) == FIRST_PERIOD_S


def test_an_unknown_owner_is_no_partner(quarantine: Quarantine) -> None:
    quarantine.add("")
    assert quarantine.until("") is None
