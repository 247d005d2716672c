"""Items of many threads are worked on together; passing trouble is waited out, other errors reach the callers."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from delivery.batching import Batcher, Stopped


class Away(Exception):  # noqa: N818 - a state
    """Passing trouble."""


def is_away(error: BaseException) -> bool:
    return isinstance(error, Away)


def test_every_item_gets_its_own_answer_and_waiting_items_share_a_batch() -> None:
    at_work, gate = threading.Event(), threading.Event()
    batches: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        at_work.set()
        gate.wait(10)
        batches.append(len(items))
        return [item * 2 for item in items]

    batcher = Batcher("double", work, is_away, largest=10)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(batcher.submit, 0)]
        assert at_work.wait(10)
        answers += [pool.submit(batcher.submit, number) for number in range(1, 20)]
        while batcher._waiting.qsize() < 19:
            pass
        gate.set()
        assert [answer.result(10) for answer in answers] == [number * 2 for number in range(20)]
    assert sum(batches) == 20
    assert batches == [1, 10, 9]
    batcher.stop()


def test_passing_trouble_is_waited_out() -> None:
    tries: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        tries.append(1)
        if len(tries) < 3:
            raise Away
        return items

    batcher = Batcher("patient", work, is_away, longest_pause_s=0.01)
    assert batcher.submit(5) == 5
    assert len(tries) == 3
    batcher.stop()


def test_another_error_reaches_the_caller_and_the_next_batch_goes_on() -> None:
    def work(items: Sequence[int]) -> Sequence[int]:
        if 1 in items:
            raise ValueError("one")
        return items

    batcher = Batcher("strict", work, is_away)
    with pytest.raises(ValueError, match="one"):
        batcher.submit(1)
    assert batcher.submit(2) == 2
    batcher.stop()


def test_stopping_gives_up_on_passing_trouble_and_takes_nothing_new() -> None:
    at_work = threading.Event()

    def work(_items: Sequence[int]) -> Sequence[int]:
        at_work.set()
        raise Away

    batcher = Batcher("away", work, is_away)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(batcher.submit, 1)
        assert at_work.wait(10)
        batcher.stop()
        with pytest.raises(Stopped):
            answer.result(10)
    with pytest.raises(Stopped):
        batcher.submit(2)
