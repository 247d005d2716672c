from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from delivery.sources.ahead import SMALL_BATCH, Ahead


def message(subject: str, number: int = 0) -> Any:
    return SimpleNamespace(subject=subject, data=b"%02d" % number)


def filled(*subjects: str) -> Ahead:
    """Messages of these subjects, numbered in this order, one a second."""
    ahead = Ahead()
    for number, subject in enumerate(subjects):
        ahead.add(message(subject, number), float(number))
    return ahead


def taken(ahead: Ahead, limit: int) -> list[str]:
    return [f"{one.subject}{int(one.data)}" for one in ahead.take(limit)]


def test_subjects_take_turns_and_a_batch_is_in_the_order_of_arrival() -> None:
    ahead = filled(*"aaaaaaaabc")
    assert taken(ahead, 4) == ["a0", "a1", "b8", "c9"]
    assert taken(ahead, 100) == ["a2", "a3", "a4", "a5", "a6", "a7"]
    assert taken(ahead, 100) == []


def test_all_that_fits_into_a_batch_comes_in_the_order_of_arrival() -> None:
    assert taken(filled(*"abacb"), 5) == ["a0", "b1", "a2", "c3", "b4"]


def test_a_new_subject_is_next() -> None:
    ahead = filled(*"aaabbb")
    assert taken(ahead, 1) == ["b3"]
    ahead.add(message("z"), 9.0)
    assert taken(ahead, 1) == ["z0"]
    assert taken(ahead, 2) == ["a0", "b4"]


def test_a_batch_with_a_new_subject_is_small_if_not_all_fit() -> None:
    ahead = filled(*["a"] * 1000)
    assert (len(ahead.take(500)), len(ahead.take(300))) == (SMALL_BATCH, 300)
    ahead.add(message("z"), 9.0)
    assert len(ahead.take(500)) == SMALL_BATCH
    ahead.add(message("y"), 9.0)
    assert len(ahead.take(502)) == 502, "all"


def test_it_knows_how_much_waits_and_how_long() -> None:
    ahead = filled(*"ab")
    assert (len(ahead), ahead.bytes, ahead.longest_wait_s(10.0)) == (2, 4, 10.0)
    ahead.take(1)
    assert (len(ahead), ahead.bytes, ahead.longest_wait_s(10.0)) == (1, 2, 10.0)
    ahead.take(1)
    assert (len(ahead), ahead.bytes, ahead.longest_wait_s(10.0)) == (0, 0, 0.0)


@given(st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 5))))
def test_every_message_is_taken_once_and_those_of_a_subject_in_order(steps: list[str | int]) -> None:
    ahead, came = Ahead(), []
    for number, step in enumerate(steps):
        if isinstance(step, str):
            ahead.add(message(step, number), float(number))
        else:
            came += ahead.take(step)
    came += ahead.take(len(ahead))
    added = [(step, number) for number, step in enumerate(steps) if isinstance(step, str)]
    assert sorted((one.subject, int(one.data)) for one in came) == sorted(added)
    for subject in "abc":
        numbers = [int(one.data) for one in came if one.subject == subject]
        assert numbers == sorted(numbers)
    assert (len(ahead), ahead.bytes) == (0, 0)
