"""What many submit is worked on together; passing trouble is waited out, other errors reach the callers."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from delivery.batching import Batcher
from delivery.turns import Turns, offload
from tests.turns import start


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns("test", helpers=1)
    turns.start()
    yield turns
    turns.stop(10)


class Away(Exception):  # noqa: N818 - a state
    """Passing trouble."""


def is_away(error: BaseException) -> bool:
    return isinstance(error, Away)


class Gate:
    """Work that waits, in a way that lets the others go on, until it may go on."""

    def __init__(self) -> None:
        self.at_work, self.opened = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.at_work.set()
        offload(self.opened.wait, 10)
        self.batches.append(len(items))
        return [item * 2 for item in items]


def test_what_tasks_submit_while_a_batch_is_at_work_is_the_next(turns: Turns) -> None:
    work = Gate()
    batcher = Batcher("double", work, is_away, largest=10)
    answers = [start(turns, batcher.submit, 0)]
    assert work.at_work.wait(10)
    answers += [start(turns, batcher.submit, number) for number in range(1, 20)]
    start(turns, lambda: None).result(10)
    work.opened.set()
    assert [answer.result(10) for answer in answers] == [number * 2 for number in range(20)]
    assert work.batches == [1, 10, 9]


def test_tasks_that_begin_together_share_the_first_batch(turns: Turns) -> None:
    work = Gate()
    work.opened.set()
    batcher = Batcher("double", work, is_away)

    def begin_five() -> list["object"]:
        return [start(turns, batcher.submit, number) for number in range(5)]

    for answer in start(turns, begin_five).result(10):
        answer.result(10)  # type: ignore[attr-defined]
    assert work.batches == [5]


def test_threads_share_batches_as_well() -> None:
    work = Gate()
    batcher = Batcher("double", work, is_away, largest=10)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(batcher.submit, 0)]
        assert work.at_work.wait(10)
        answers += [pool.submit(batcher.submit, number) for number in range(1, 20)]
        while len(batcher._waiting) < 19:
            pass
        work.opened.set()
        assert [answer.result(10) for answer in answers] == [number * 2 for number in range(20)]
    assert work.batches == [1, 10, 9]


def test_passing_trouble_is_waited_out_while_other_tasks_go_on(turns: Turns) -> None:
    is_back = threading.Event()
    tries: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        tries.append(1)
        if not is_back.is_set():
            raise Away
        return items

    batcher = Batcher("patient", work, is_away, longest_pause_s=0.01)
    answer = start(turns, batcher.submit, 5)
    while len(tries) < 3:
        assert start(turns, lambda: "went on").result(10) == "went on"
    is_back.set()
    assert answer.result(10) == 5


def test_another_error_reaches_the_caller_and_the_next_batch_goes_on(turns: Turns) -> None:
    def work(items: Sequence[int]) -> Sequence[int]:
        if 1 in items:
            raise ValueError("one")
        return items

    batcher = Batcher("strict", work, is_away)
    with pytest.raises(ValueError, match="one"):
        start(turns, batcher.submit, 1).result(10)
    assert start(turns, batcher.submit, 2).result(10) == 2


def test_a_task_that_began_gets_its_answer_though_nothing_new_is_taken(turns: Turns) -> None:
    work, gate = Gate(), threading.Event()
    work.opened.set()
    batcher = Batcher("double", work, is_away)

    def begins_before() -> int:
        offload(gate.wait, 10)
        return batcher.submit(4)

    answer = start(turns, begins_before)
    start(turns, lambda: None).result(10)
    turns.refuse()
    gate.set()
    assert answer.result(10) == 8
