"""A budget allows exactly what it has, and rests from time to time."""

from collections.abc import Callable

import pytest

from partners.budget import STEPS_BETWEEN_RESTS, Budget
from partners.errors import TransformError


@pytest.mark.parametrize("rest", [None, lambda: None])
def test_the_last_step_is_allowed_and_no_other(rest: Callable[[], None] | None) -> None:
    budget = Budget(1000, rest=rest)
    budget.take(1000)
    with pytest.raises(TransformError, match="more than the 1000 steps"):
        budget.take(1)


def test_the_last_byte_is_allowed_and_no_other() -> None:
    budget = Budget(max_bytes=10)
    budget.keep(10)
    with pytest.raises(TransformError, match="larger than the 10 bytes"):
        budget.keep(1)


def test_it_rests_after_so_many_steps() -> None:
    rests: list[int] = []
    budget = Budget(4 * STEPS_BETWEEN_RESTS, rest=lambda: rests.append(budget.steps))
    for _ in range(4 * STEPS_BETWEEN_RESTS):
        budget.take(1)
    assert len(rests) == 3
