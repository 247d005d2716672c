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
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from delivery.deliver import Begun, Tools, begin, end, refusal, result_of
from delivery.due import Due
from delivery.errors import Postponed, TryLater
from delivery.jobs import PENDING, Job
from delivery.lingering import Lingering
from delivery.outcomes import Outcome
from delivery.passing import patiently
from delivery.recorder import AttemptRecord
from delivery.stages import DeliveryMessage, Stages
from delivery.turns import Turns

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

LARGEST_BATCH = 200
LINGER_S = 0.005
"""Hardly anybody waits for a record, so it waits for others; a load never does."""


class Pipeline:
    """`take` may be called from any thread. `turns.refuse()` keeps what was not begun from beginning."""

    def __init__(self, turns: Turns, stages: Stages, tools: Tools, linger_s: float = LINGER_S) -> None:
        self._turns = turns
        self._stages = stages
        self._tools = tools
        self._taken: deque[DeliveryMessage] = deque()
        self._made: deque[tuple[DeliveryMessage, Job, AttemptRecord]] = deque()
        self._refused: deque[tuple[DeliveryMessage, TryLater | Postponed]] = deque()
        self._is_called = self._is_loading = self._is_recording = self._is_refusing = False
        self._lingering = Lingering(turns, linger_s, self._has_all)
        self._disabling: set[str] = set()
        self.begun: set[DeliveryMessage] = set()
        """What must be brought to its end."""
        self._under_way: dict[tuple[str, int], DeliveryMessage] = {}

    def take(self, message: DeliveryMessage) -> None:
        self._taken.append(message)
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
                ids = [message.delivery_id for message in batch]
                try:
                    jobs = patiently("the loader waits", self._stages.load, ids)
                    self._tools.breaker.refresh()
                except Exception as error:
                    self._settle_all(batch, error)
                    continue
                for message, job in zip(batch, jobs, strict=True):
                    self._begin(message, job)
        finally:
            self._is_loading = False

    def _firsts(self, batch: Sequence[DeliveryMessage]) -> list[DeliveryMessage]:
        """One for each attempt; a second message of one that is under way (Due.brought_forward) has nothing to do.

        Asked before the load: the record of one that ends meanwhile may not be in it.
        """
        firsts = []
        for message in batch:
            if self._under_way.setdefault((message.delivery_id, message.attempt), message) is message:
                firsts.append(message)
            else:
                self._settle(message)
        return firsts

    def _begin(self, message: DeliveryMessage, job: Job | None, *, may_wait: bool = False) -> None:
        """What may wait for its breaker, or rest in a long transformation, is a task of its own, so others go on."""
        try:
            if job is None or job.status != PENDING:
                self._settle(message)
            elif not may_wait and self._may_take_long(job):
                self._turns.branch(partial(self._begin, message, job, may_wait=True))
            elif (refused := refusal(job, message.attempt, self._tools)) is not None:
                self._refuse(message, refused)
            else:
                begun = begin(job, message.attempt, self._tools)
                if begun.outcome is None:
                    self._stages.send(begun.request, partial(self._sent, message, begun))
                else:
                    self._sent(message, begun, begun.outcome)
        except Exception as error:
            logger.exception("a delivery broke")
            self._settle(message, error)

    def _may_take_long(self, job: Job) -> bool:
        endpoint = job.endpoint
        return endpoint.transform is not None or not self._tools.breaker.answers_at_once(endpoint.subscription_id)

    def _refuse(self, message: DeliveryMessage, refused: TryLater | Postponed) -> None:
        self._refused.append((message, refused))
        if not self._is_refusing:
            self._is_refusing = True
            self._turns.branch(self._send_back)

    def _send_back(self) -> None:
        """First the queues are held back: each message that is settled lets the next one out."""
        try:
            while self._refused:
                batch = _first(self._refused)
                postponed = [(message, why) for message, why in batch if isinstance(why, Postponed)]
                if postponed:
                    try:
                        self._stages.hold_back([why for _, why in postponed])
                    except Exception:  # what comes nevertheless is postponed as well
                        logger.exception("queues were not held back")
                for message, why in postponed:
                    self._settle(message, why)
                if others := [(message, why.due) for message, why in batch if isinstance(why, TryLater)]:
                    self._retry(others)
        finally:
            self._is_refusing = False

    def _sent(self, message: DeliveryMessage, begun: Begun, outcome: Outcome) -> None:
        try:
            self._made.append((message, begun.job, end(begun, outcome, self._tools)))
        except Exception as error:
            logger.exception("a delivery broke")
            self._settle(message, error)
            return
        if not self._is_recording:
            self._is_recording = True
            self._turns.branch(self._record)
        else:
            self._lingering.look()

    def _record(self) -> None:
        try:
            while self._made:
                self._lingering.wait()
                self._write(_first(self._made))
        finally:
            self._is_recording = False

    def _write(self, batch: Sequence[tuple[DeliveryMessage, Job, AttemptRecord]]) -> None:
        """One that cannot be recorded must not cost the others their records."""
        try:
            patiently("the recorder waits", self._stages.record, [made for _, _, made in batch])
        except Exception as error:
            if len(batch) == 1:
                self._settle(batch[0][0], error)
                return
            logger.exception("a batch was not recorded; each of it is tried by itself")
            for one in batch:
                self._write([one])
        else:
            self._follow(batch)

    def _has_all(self) -> bool:
        """Whether to record now: the batch is full, or all that is under way is in it and a queue at its cap waits."""
        count = len(self._made)
        return count >= LARGEST_BATCH or (
            count >= len(self.begun) and any(message.is_awaited for message, _, _ in self._made)
        )

    def _follow(self, batch: Sequence[tuple[DeliveryMessage, Job, AttemptRecord]]) -> None:
        """After the commit."""
        retries: list[tuple[DeliveryMessage, Due]] = []
        for message, job, made in batch:
            if made.step.disable and made.subscription_id not in self._disabling:
                self._disabling.add(made.subscription_id)
                self._turns.branch(partial(self._disable, made))
            try:
                result = result_of(job, made, self._tools)
            except Exception as error:
                logger.exception("a delivery broke")
                self._settle(message, error)
                continue
            if isinstance(result, TryLater):
                retries.append((message, result.due))
            else:
                self._settle(message, result)
        if retries:
            self._turns.branch(partial(self._retry, retries))

    def _disable(self, made: AttemptRecord) -> None:
        """Apart from the records of all the others: whoever changes the subscription may hold its row for long."""
        try:
            patiently("the disabler waits", self._stages.disable, made)
        except Exception:
            logger.exception("a subscription was not disabled")
        finally:
            self._disabling.remove(made.subscription_id)

    def _retry(self, retries: Sequence[tuple[DeliveryMessage, Due]]) -> None:
        try:
            self._stages.publish([due for _, due in retries])
        except Exception:  # PostgreSQL has them: reconciliation queues them
            logger.exception("retries were not queued")
        self._settle_all([message for message, _ in retries])

    def _settle_all(self, batch: Sequence[DeliveryMessage], error: Exception | None = None) -> None:
        for message in batch:
            self._settle(message, error)

    def _settle(self, message: DeliveryMessage, error: Exception | None = None) -> None:
        """Once, whatever comes of it: a place that is never given back is lost to this worker."""
        if message not in self.begun:
            return
        self.begun.remove(message)
        if self._under_way.get((message.delivery_id, message.attempt)) is message:
            del self._under_way[message.delivery_id, message.attempt]
        self._turns.ends()
        self._lingering.look()
        try:
            message.settle(error)
        except Exception:
            logger.exception("a delivery could not be settled")


def _first(waiting: deque[Item]) -> list[Item]:
    return [waiting.popleft() for _ in range(min(len(waiting), LARGEST_BATCH))]
