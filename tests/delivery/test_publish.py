"""Deliveries are queued, or left to reconciliation, which is counted each time and logged once."""

import time
from collections.abc import Sequence

import pytest
import redis

from delivery.due import Due, Queued
from delivery.metrics.process import REGISTRY
from delivery.passing import Silence
from delivery.publish import publish_briefly, publish_or_leave
from tests.proxy import Proxy

pytestmark = pytest.mark.servers

DUE = [Due("dlv_1", 1, "ptr_1", "orders.created")]


def errors() -> float:
    return REGISTRY.get_sample_value("recart_hooks_broker_errors_total", {"part": "some part"}) or 0.0


def test_attempts_that_cannot_be_queued_are_counted_each_time_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    publish_or_leave(DUE, "some part", len)  # ends trouble that other tests left
    caplog.set_level("INFO")
    caplog.clear()

    def away(_: Sequence[Queued]) -> int:
        raise redis.ConnectionError("refused")

    left = [publish_or_leave(DUE, "some part", away) for _ in range(3)]
    nothing = publish_or_leave([], "some part", away)
    again = publish_or_leave(DUE, "some part", away)
    queued = publish_or_leave(DUE, "some part", len)

    assert (left, nothing, again, queued) == ([False] * 3, True, False, True)
    assert errors() == 4
    assert [record.message for record in caplog.records] == ["deliveries are queued later", "going on"]


def test_a_broker_that_does_not_answer_is_left_alone_for_a_while() -> None:
    now, asked = [100.0], 0
    silence = Silence(for_s=5, clock=lambda: now[0])

    def hangs(_: Sequence[Queued]) -> int:
        nonlocal asked
        asked += 1
        raise redis.TimeoutError("Timeout reading from socket")

    assert [publish_or_leave(DUE, "another part", hangs, silence) for _ in range(3)] == [False] * 3
    assert asked == 1
    now[0] += 5
    assert publish_or_leave(DUE, "another part", len, silence)
    assert publish_or_leave(DUE, "another part", len, silence)


def test_a_broker_that_refuses_connections_is_asked_each_time() -> None:
    silence = Silence()

    def refuses(_: Sequence[Queued]) -> int:
        raise redis.ConnectionError("refused")

    assert not publish_or_leave(DUE, "another part", refuses, silence)
    assert publish_or_leave(DUE, "another part", len, silence)


def test_a_broker_that_does_not_answer_is_not_waited_for_for_long(valkey_wire: Proxy) -> None:
    assert publish_briefly(DUE) == 1
    valkey_wire.hold()
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        publish_briefly(DUE)
    assert time.monotonic() - began < 5
