"""The deliveries of a worker process, many at a time: loaded together, sent side by side, recorded together.

    taken ─► load: one query ─► begin each ─► libcurl ─► record: one commit ─► settled
                                                              ├─► retries: queued together
                                                              └─► gone: subscription disabled

Everything runs in the one thread of delivery.turns. What is taken while a batch is loaded is the next batch, what ends
while one is recorded is the next one: batches grow just as the load does. The steps of each attempt are those of
delivery.deliver. A delivery is settled only after its attempt is committed.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from delivery.deliver import Begun, Tools, begin, end, refusal, result_of
from delivery.due import Due
from delivery.errors import Postponed, TryLater
from delivery.jobs import PENDING, Job
from delivery.outcomes import Outcome
from delivery.recorder import AttemptRecord
from delivery.sending import Request
from delivery.turns import Turns, Waiter, sleep
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")

LARGEST_BATCH = 200
LINGER_S = 0.005
"""Hardly anybody waits for a record, so it waits for others; a load never does."""
_FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


@dataclass(slots=True, eq=False)
class Told:
    """A message: make this attempt. `settle` is called at its end: with None when it is done, with Postponed when it is
    to come again, with any other error for Celery to handle."""

    delivery_id: str
    attempt: int
    settle: Callable[[Exception | None], None]
    tag: Any = None
    """Its delivery tag."""
    is_awaited: bool = False
    """Whether others may wait for it to be settled."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What is done for many at once, in a task of the turns; what blocks in them is offloaded."""

    load: Callable[[Sequence[str]], Sequence[Job | None]]
    send: Callable[[Request, Callable[[Outcome], None]], None]
    record: Callable[[Sequence[AttemptRecord]], Sequence[bool]]
    disable: Callable[[AttemptRecord], None]
    """Disables the attempt's subscription; never waits for long."""
    publish: Callable[[Sequence[Due]], None]
    """Queues attempts; never raises for a broker that is away."""
    hold_back: Callable[[Sequence[Postponed]], None]
    """Keeps more of what these are from coming, where it can; never raises for a server that is away."""
    is_passing: Callable[[BaseException], bool]
    """Whether a load, a record or a disabling that failed is to be tried again, until it succeeds."""


class Pipeline:
    """`take` may be called from any thread. `turns.refuse()` keeps what was not begun from beginning."""

    def __init__(self, turns: Turns, stages: Stages, tools: Tools, linger_s: float = LINGER_S) -> None:
        self._turns = turns
        self._stages = stages
        self._tools = tools
        self._linger_s = linger_s
        self._taken: deque[Told] = deque()
        self._made: deque[tuple[Told, Job, AttemptRecord]] = deque()
        self._refused: deque[tuple[Told, TryLater | Postponed]] = deque()
        self._is_called = self._is_loading = self._is_recording = self._is_refusing = False
        self._lingering: Waiter | None = None
        self._disabling: set[str] = set()
        self.begun: set[Told] = set()
        """What must be brought to its end."""
        self._under_way: dict[tuple[str, int], Told] = {}

    def take(self, told: Told) -> None:
        self._taken.append(told)
        if not self._is_called:
            self._is_called = True
            self._turns.soon(self._come)

    def _come(self) -> None:
        self._is_called = False
        if not self._is_loading:
            self._is_loading = True
            self._turns.branch(self._load)

    def _load(self) -> None:
        try:
            while self._taken and self._turns.takes_more:
                batch = _first(self._taken)
                self.begun.update(batch)
                self._turns.begins(len(batch))
                batch = self._firsts(batch)
                ids = [told.delivery_id for told in batch]
                try:
                    jobs = self._patiently("loader", self._stages.load, ids)
                    self._tools.breaker.refresh()
                except Exception as error:
                    self._settle_all(batch, error)
                    continue
                for told, job in zip(batch, jobs, strict=True):
                    self._begin(told, job)
        finally:
            self._is_loading = False

    def _firsts(self, batch: Sequence[Told]) -> list[Told]:
        """One for each attempt; a second message of one that is under way (Due.brought_forward) has nothing to do.

        Asked before the load: the record of one that ends meanwhile may not be in it.
        """
        firsts = []
        for told in batch:
            if self._under_way.setdefault((told.delivery_id, told.attempt), told) is told:
                firsts.append(told)
            else:
                self._settle(told)
        return firsts

    def _begin(self, told: Told, job: Job | None, *, may_wait: bool = False) -> None:
        """What may wait for its breaker, or rest in a long transformation, is a task of its own, so others go on."""
        try:
            if job is None or job.status != PENDING:
                self._settle(told)
            elif not may_wait and self._may_take_long(job):
                self._turns.branch(partial(self._begin, told, job, may_wait=True))
            elif (refused := refusal(job, told.attempt, self._tools)) is not None:
                self._refuse(told, refused)
            else:
                begun = begin(job, told.attempt, self._tools)
                if begun.outcome is None:
                    self._stages.send(begun.request, partial(self._sent, told, begun))
                else:
                    self._sent(told, begun, begun.outcome)
        except Exception as error:
            logger.exception("a delivery broke")
            self._settle(told, error)

    def _may_take_long(self, job: Job) -> bool:
        endpoint = job.endpoint
        return endpoint.transform is not None or not self._tools.breaker.answers_at_once(endpoint.subscription_id)

    def _refuse(self, told: Told, refused: TryLater | Postponed) -> None:
        self._refused.append((told, refused))
        if not self._is_refusing:
            self._is_refusing = True
            self._turns.branch(self._send_back)

    def _send_back(self) -> None:
        """First the queues are held back: each message that is settled lets the next one out."""
        try:
            while self._refused:
                batch = _first(self._refused)
                postponed = [(told, why) for told, why in batch if isinstance(why, Postponed)]
                if postponed:
                    try:
                        self._stages.hold_back([why for _, why in postponed])
                    except Exception:  # what comes nevertheless is postponed as well
                        logger.exception("queues were not held back")
                for told, why in postponed:
                    self._settle(told, why)
                if others := [(told, why.due) for told, why in batch if isinstance(why, TryLater)]:
                    self._retry(others)
        finally:
            self._is_refusing = False

    def _sent(self, told: Told, begun: Begun, outcome: Outcome) -> None:
        try:
            self._made.append((told, begun.job, end(begun, outcome, self._tools)))
        except Exception as error:
            logger.exception("a delivery broke")
            self._settle(told, error)
            return
        if not self._is_recording:
            self._is_recording = True
            self._turns.branch(self._record)
        else:
            self._mind_lingering()

    def _record(self) -> None:
        try:
            while self._made:
                self._linger()
                self._write(_first(self._made))
        finally:
            self._is_recording = False

    def _write(self, batch: Sequence[tuple[Told, Job, AttemptRecord]]) -> None:
        """One that cannot be recorded must not cost the others their records."""
        try:
            self._patiently("recorder", self._stages.record, [made for _, _, made in batch])
        except Exception as error:
            if len(batch) == 1:
                self._settle(batch[0][0], error)
                return
            logger.exception("a batch was not recorded; each of it is tried by itself")
            for one in batch:
                self._write([one])
        else:
            self._follow(batch)

    def _linger(self) -> None:
        if self._has_all():
            return
        self._lingering = Waiter()
        timer = self._turns.call_later(self._linger_s, self._stop_lingering)
        self._lingering.wait()
        timer.cancel()

    def _has_all(self) -> bool:
        """Whether there is nothing to wait for, or nothing under way that could still come along and somebody waits."""
        count = len(self._made)
        return count >= LARGEST_BATCH or (
            count >= len(self.begun) and any(told.is_awaited for told, _, _ in self._made)
        )

    def _mind_lingering(self) -> None:
        """After one more was made, or has left."""
        if self._lingering is not None and self._has_all():
            self._stop_lingering()

    def _stop_lingering(self) -> None:
        waiter, self._lingering = self._lingering, None
        if waiter is not None:
            waiter.wake()

    def _follow(self, batch: Sequence[tuple[Told, Job, AttemptRecord]]) -> None:
        """After the commit."""
        retries: list[tuple[Told, Due]] = []
        for told, job, made in batch:
            if made.step.disable and made.subscription_id not in self._disabling:
                self._disabling.add(made.subscription_id)
                self._turns.branch(partial(self._disable, made))
            try:
                result = result_of(job, made, self._tools)
            except Exception as error:
                logger.exception("a delivery broke")
                self._settle(told, error)
                continue
            if isinstance(result, TryLater):
                retries.append((told, result.due))
            else:
                self._settle(told, result)
        if retries:
            self._turns.branch(partial(self._retry, retries))

    def _disable(self, made: AttemptRecord) -> None:
        """Apart from the records of all the others: whoever changes the subscription may hold its row for long."""
        try:
            self._patiently("disabler", lambda gone: self._stages.disable(gone[0]), [made])
        except Exception:
            logger.exception("a subscription was not disabled")
        finally:
            self._disabling.remove(made.subscription_id)

    def _retry(self, retries: Sequence[tuple[Told, Due]]) -> None:
        try:
            self._stages.publish([due for _, due in retries])
        except Exception:  # PostgreSQL has them: reconciliation queues them
            logger.exception("retries were not queued")
        self._settle_all([told for told, _ in retries])

    def _settle_all(self, batch: Sequence[Told], error: Exception | None = None) -> None:
        for told in batch:
            self._settle(told, error)

    def _settle(self, told: Told, error: Exception | None = None) -> None:
        """Once, whatever comes of it: a place that is never given back is lost to this worker."""
        if told not in self.begun:
            return
        self.begun.remove(told)
        if self._under_way.get((told.delivery_id, told.attempt)) is told:
            del self._under_way[told.delivery_id, told.attempt]
        self._turns.ends()
        self._mind_lingering()
        try:
            told.settle(error)
        except Exception:
            logger.exception("a delivery could not be settled")

    def _patiently(self, name: str, work: Callable[[Sequence[Item]], Answer], items: Sequence[Item]) -> Answer:
        """Until PostgreSQL is there. Raises what is not passing."""
        trouble, pause_s = Trouble(logger, f"the {name} waits"), _FIRST_PAUSE_S
        while True:
            try:
                answer = work(items)
            except Exception as error:
                if not self._stages.is_passing(error):
                    raise
                trouble.met(error)
                sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                trouble.over()
                return answer


def _first(waiting: deque[Item]) -> list[Item]:
    return [waiting.popleft() for _ in range(min(len(waiting), LARGEST_BATCH))]
