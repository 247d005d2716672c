"""Batches are measured, including those that fail."""

from collections.abc import Sequence

import pytest
from django.db import OperationalError

from delivery.metrics.process import REGISTRY, timed


def value(name: str, batch: str, label: str = "batch") -> float:
    return REGISTRY.get_sample_value(name, {label: batch}) or 0.0


def test_a_batch_is_counted_with_its_items_and_its_time() -> None:
    def work(items: Sequence[int]) -> list[int]:
        return [2 * item for item in items]

    assert timed("test-good", work)([1, 2, 3]) == [2, 4, 6]
    assert value("recart_hooks_batch_items_sum", "test-good") == 3
    assert value("recart_hooks_batch_duration_seconds_count", "test-good") == 1


def test_a_failure_of_the_database_is_counted_and_goes_on_its_way() -> None:
    def work(_items: Sequence[int]) -> list[int]:
        raise OperationalError("away")

    with pytest.raises(OperationalError):
        timed("test-bad", work)([1])
    assert value("recart_hooks_database_errors_total", "test-bad", "part") == 1
    assert value("recart_hooks_batch_duration_seconds_count", "test-bad") == 1
