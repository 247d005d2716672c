"""Many tasks, one transaction: what they submit while a batch is at work makes up the next one.

A task hands over its item and waits until its answer is there. An idle batcher begins when all who can submit have done
so, or lingers a little where nobody is in a hurry; a busy one gathers meanwhile, so batches grow just as the load does.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from delivery.turns import Waiter, current_task, sleep

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Work = Callable[[Sequence[Item]], Sequence[Answer]]

_FIRST_PAUSE_S = 0.1


class _Slot(Generic[Item, Answer]):
    """One submitted item."""

    __slots__ = ("answer", "done", "error", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.done = Waiter()


class Batcher(Generic[Item, Answer]):
    """`work` gets the items of a batch and returns their answers in the same order; it is called for one batch at a
    time, in a task of the turns that its callers are of. In threads of other kinds, the first of them does it.

    When `work` raises an error for which `is_passing` is true (a database that is away), the same batch is tried again
    after a pause that grows to `longest_pause_s`, until it succeeds. Any other error goes to every task of the batch.
    """

    def __init__(
        self,
        name: str,
        work: Work[Item, Answer],
        is_passing: Callable[[BaseException], bool],
        largest: int = 200,
        longest_pause_s: float = 5.0,
        linger_s: float = 0.0,
    ) -> None:
        self._name = name
        self._work = work
        self._is_passing = is_passing
        self._largest = largest
        self._longest_pause_s = longest_pause_s
        self._linger_s = linger_s
        self._waiting: deque[_Slot[Item, Answer]] = deque()
        self._is_at_work = False
        self._lock = threading.Lock()

    def submit(self, item: Item) -> Answer:
        """Waits until the item's batch is done; raises what the batch raised."""
        slot: _Slot[Item, Answer] = _Slot(item)
        with self._lock:
            self._waiting.append(slot)
            begins, self._is_at_work = not self._is_at_work, True
        if begins:
            task = current_task()
            if task is None:
                self._work_off()
            else:
                task.turns.branch(self._work_off)
        slot.done.wait()
        if slot.error is not None:
            raise slot.error
        return slot.answer  # type: ignore[return-value]  # set whenever error is not

    def _work_off(self) -> None:
        is_more = True
        while is_more:
            if self._linger_s:
                sleep(self._linger_s)
            self._finish([self._waiting.popleft() for _ in range(min(len(self._waiting), self._largest))])
            with self._lock:
                is_more = self._is_at_work = bool(self._waiting)

    def _finish(self, batch: Sequence[_Slot[Item, Answer]]) -> None:
        error: BaseException | None = None
        try:
            answers = self._persist([slot.item for slot in batch])
            for slot, answer in zip(batch, answers, strict=True):
                slot.answer = answer
        except BaseException as raised:
            error = raised
        for slot in batch:
            slot.error = error
            slot.done.wake()

    def _persist(self, items: Sequence[Item]) -> Sequence[Answer]:
        pause = 0.0
        while True:
            try:
                answers = self._work(items)
            except Exception as error:
                if not self._is_passing(error):
                    raise
                if not pause:
                    logger.warning("waiting", extra={"batcher": self._name, "error": str(error).strip()[:300]})
                pause = min(pause * 2 or _FIRST_PAUSE_S, self._longest_pause_s)
                sleep(pause)
            else:
                if pause:
                    logger.info("going on", extra={"batcher": self._name, "items": len(items)})
                return answers
