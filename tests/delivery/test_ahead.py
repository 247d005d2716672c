from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.sources import ahead as ahead_module
from delivery.sources.ahead import SMALL_BATCH, Ahead


def message(subject: str, number: int = 0) -> Any:
    return SimpleNamespace(subject=subject, data=b"%02d" % number, headers=None)


def filled(*subjects: str) -> Ahead:
    """Messages of these subjects, numbered in this order."""
    ahead = Ahead()
    for number, subject in enumerate(subjects):
        ahead.add(message(subject, number))
    return ahead


def taken(ahead: Ahead, limit: int) -> list[str]:
    return [f"{one.subject}{int(one.data)}" for one in ahead.take(limit)]


def test_subjects_take_turns_and_a_batch_is_in_the_order_of_arrival() -> None:
    ahead = filled(*"aaaaaaaabc")
    assert taken(ahead, 5) == ["a0", "a1", "a2", "b8", "c9"]
    assert taken(ahead, 100) == ["a3", "a4", "a5", "a6", "a7"]
    assert taken(ahead, 100) == []


def test_a_batch_of_large_messages_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead_module, "MOST_BATCH_BYTES", 2_500)
    ahead = filled(*"aaaaab")
    assert taken(ahead, 100) == ["a0", "a1", "b5"]
    assert taken(ahead, 100) == ["a2", "a3", "a4"]


def test_all_that_fits_into_a_batch_comes_in_the_order_of_arrival() -> None:
    assert taken(filled(*"abacb"), 5) == ["a0", "b1", "a2", "c3", "b4"]


def test_a_new_subject_is_next_after_those_that_were_new_before() -> None:
    ahead = filled(*"aaabbb")
    assert taken(ahead, 2) == ["a0", "a1"]
    for subject in "yz":
        ahead.add(message(subject))
    assert [taken(ahead, 1) for _ in range(4)] == [["b3"], ["y0"], ["z0"], ["a2"]]


def test_new_subjects_leave_every_other_turn_to_the_old_ones() -> None:
    ahead = filled(*"aaaaaaaa")
    taken(ahead, 1)
    for number in range(100):
        ahead.add(message(f"new{number}"))
    assert len([one for one in ahead.take(10) if one.subject == "a"]) == 5


def test_a_batch_with_a_new_subject_is_small_if_not_all_fit() -> None:
    ahead = filled(*["a"] * 1000)
    assert (len(ahead.take(500)), len(ahead.take(300))) == (SMALL_BATCH, 300)
    ahead.add(message("z"))
    assert len(ahead.take(400)) == SMALL_BATCH
    ahead.add(message("y"))
    assert len(ahead.take(302)) == 302, "all"


def test_it_counts_the_bytes_of_messages_and_headers() -> None:
    ahead = Ahead()
    ahead.add(SimpleNamespace(subject="a", data=b"x" * 5000, headers={"name": "y" * 60_000}))  # type: ignore[arg-type]
    assert 65_000 < ahead.bytes < 67_000
    ahead.take(1)
    assert (len(ahead), ahead.bytes) == (0, 0)


@given(st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 5))))
def test_every_message_is_taken_once_and_those_of_a_subject_in_order(steps: list[str | int]) -> None:
    ahead, came = Ahead(), []
    for number, step in enumerate(steps):
        if isinstance(step, str):
            ahead.add(message(step, number))
        else:
            came += ahead.take(step)
    came += ahead.take(len(ahead))
    added = [(step, number) for number, step in enumerate(steps) if isinstance(step, str)]
    assert sorted((one.subject, int(one.data)) for one in came) == sorted(added)
    for subject in "abc":
        numbers = [int(one.data) for one in came if one.subject == subject]
        assert numbers == sorted(numbers)
    assert (len(ahead), ahead.bytes) == (0, 0)
