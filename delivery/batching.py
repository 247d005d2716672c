"""Many tasks, one transaction: what they submit while a batch is at work makes up the next one.

A task hands over its item and waits until its answer is there. An idle batcher starts at once,
or lingers a little where nobody is in a hurry; a busy one gathers meanwhile, so batches grow just as the load does.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from delivery.turns import Waiter

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Work = Callable[[Sequence[Item]], Sequence[Answer]]


class Stopped(Exception):  # noqa: N818 - a state, not a mistake
    """The batcher was stopped before this item was done."""


class _Slot(Generic[Item, Answer]):
    """One submitted item."""

    __slots__ = ("answer", "done", "error", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.done = Waiter()


class Batcher(Generic[Item, Answer]):
    """`work` gets the items of a batch and returns their answers in the same order, in a thread of its own.

    When `work` raises an error for which `is_passing` is true (a database that is away), the same batch is tried again
    after a pause that grows to `longest_pause_s`, until it succeeds or the batcher is stopped. Any other error goes to
    every thread of the batch.
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
        self._waiting: queue.SimpleQueue[_Slot[Item, Answer] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> Answer:
        """Blocks until the item's batch is done; raises what the batch raised, or Stopped."""
        if self._stopping.is_set():
            raise Stopped(self._name)
        slot: _Slot[Item, Answer] = _Slot(item)
        self._waiting.put(slot)
        slot.done.wait()
        if slot.error is not None:
            raise slot.error
        return slot.answer  # type: ignore[return-value]  # set whenever error is not

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finishes what was submitted, unless a passing error is in the way."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            batch = self._gather()
            if batch:
                self._finish(batch)
            elif self._stopping.is_set():
                return

    def _gather(self) -> list[_Slot[Item, Answer]]:
        first = self._waiting.get()
        batch = [] if first is None else [first]
        if batch and self._linger_s and not self._stopping.is_set():
            time.sleep(self._linger_s)
        while len(batch) < self._largest:
            try:
                slot = self._waiting.get_nowait()
            except queue.Empty:
                break
            if slot is not None:
                batch.append(slot)
        return batch

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
        pause = 0.1
        failing = False
        while True:
            try:
                answers = self._work(items)
            except Exception as error:
                if not self._is_passing(error):
                    raise
                if self._stopping.is_set():
                    raise Stopped(self._name) from error
                if not failing:
                    logger.warning("waiting", extra={"batcher": self._name, "error": str(error).strip()[:300]})
                failing = True
                self._stopping.wait(pause)
                pause = min(pause * 2, self._longest_pause_s)
            else:
                if failing:
                    logger.info("going on", extra={"batcher": self._name, "items": len(items)})
                return answers
