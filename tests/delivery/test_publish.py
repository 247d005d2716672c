"""Deliveries are queued, or left to reconciliation, which is counted each time and said once."""

from collections.abc import Sequence

import pytest
import redis

from delivery.due import Due
from delivery.metrics.process import REGISTRY
from delivery.publish import publish_or_leave

DUE = [Due("dlv_1", 1, "ptr_1", "orders.created")]


def errors() -> float:
    return REGISTRY.get_sample_value("recart_hooks_broker_errors_total", {"part": "some part"}) or 0.0


def test_what_cannot_be_queued_is_left_and_counted_each_time_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    publish_or_leave(DUE, "some part", len)  # whatever other tests left
    caplog.set_level("INFO")
    caplog.clear()

    def away(_: Sequence[Due]) -> int:
        raise redis.ConnectionError("refused")

    left = [publish_or_leave(DUE, "some part", away) for _ in range(3)]
    nothing = publish_or_leave([], "some part", away)
    again = publish_or_leave(DUE, "some part", away)
    queued = publish_or_leave(DUE, "some part", len)

    assert (left, nothing, again, queued) == ([False] * 3, True, False, True)
    assert errors() == 4
    assert [record.message for record in caplog.records] == ["deliveries are queued later", "going on"]
