"""Times that several hosts share are a server's; a wrong clock of this host is logged once."""

import logging
import time

import pytest

from delivery.breaker import Opened
from delivery.breaker_store import SharedBreakers
from delivery.clocks import ahead_of_s

HOUR_S = 3600


def an_hour_ahead() -> float:
    return time.time() + HOUR_S


def test_a_wrong_clock_is_logged_once_and_when_it_is_right_again(caplog: pytest.LogCaptureFixture) -> None:
    ahead_of_s((int(time.time()), 0))
    caplog.set_level(logging.INFO, "delivery.clocks")
    caplog.clear()
    for clock, ahead_s in ((an_hour_ahead, HOUR_S), (an_hour_ahead, HOUR_S), (time.time, 0), (time.time, 0)):
        assert ahead_of_s((int(time.time()), 0), clock) == pytest.approx(ahead_s, abs=30)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.servers
@pytest.mark.usefixtures("valkey")
def test_a_breaker_that_a_host_an_hour_ahead_opened_is_open_for_seconds_everywhere() -> None:
    ahead, here = SharedBreakers(clock=an_hour_ahead), SharedBreakers()
    ahead.open("sub_clocks", Opened(an_hour_ahead() + 5, 5.0))
    try:
        assert here.read()["sub_clocks"].until == pytest.approx(time.time() + 5, abs=30)
        assert ahead.read()["sub_clocks"].until == pytest.approx(an_hour_ahead() + 5, abs=30)
    finally:
        here.close("sub_clocks")
        here.forget_counts(["sub_clocks"])
