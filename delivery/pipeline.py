"""Makes the deliveries of a worker process: loads them in batches, sends them in parallel, records them in batches.

    take ─► load: one query ─► begin each ─► libcurl ─► record: one commit ─► settle
                                                             ├─► retries: queued together
                                                             ├─► dead: stored as failed tasks together
                                                             └─► status 410: subscription disabled

Everything runs in the one thread of delivery.turns. Messages that are taken while a batch is loaded become the next
batch, and so do attempts that end while a batch is recorded: batches grow with the load. The steps of each attempt are
those of delivery.deliver. A message is settled only after its attempt is committed.
"""

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from delivery.deliver import Begun, Tools, begin, end, refusal, result_of
from delivery.due import Due
from delivery.errors import Postponed, TryLater
from delivery.gone import Gone
from delivery.jobs import PENDING, Job
from delivery.lingering import Lingering
from delivery.outcomes import Outcome
from delivery.passing import patiently
from delivery.recorder import AttemptRecord
from delivery.stages import Dead, DeliveryMessage, Stages
from delivery.turns import Turns

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

LARGEST_BATCH = 200
LINGER_S = 0.005
"""How long a record waits for more attempts to end: little depends on it. A load never waits."""


class Pipeline:
    """`take` may be called from any thread. After `turns.refuse()`, it begins no more of the messages taken."""

    def __init__(self, turns: Turns, stages: Stages, tools: Tools, linger_s: float = LINGER_S) -> None:
        self._turns = turns
        self._stages = stages
        self._tools = tools
        self._taken: deque[DeliveryMessage] = deque()
        self._made: deque[tuple[DeliveryMessage, Job, AttemptRecord]] = deque()
        self._refused: deque[tuple[DeliveryMessage, TryLater | Postponed]] = deque()
        self._is_scheduled = self._is_loading = self._is_recording = self._is_refusing = False
        self._lingering = Lingering(turns, linger_s, self._should_record)
        self._gone = Gone(turns, stages.disable)
        self.begun: set[DeliveryMessage] = set()
        """Messages that are being processed, and are not settled yet."""
        self._under_way: dict[tuple[str, int], DeliveryMessage] = {}
        """The message of each attempt in progress, by delivery id and attempt number."""

    def take(self, message: DeliveryMessage) -> None:
        self._taken.append(message)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._turns.soon(self._start_loading)

    def _start_loading(self) -> None:
        self._is_scheduled = False
        if not self._is_loading:
            self._is_loading = True
            self._turns.branch(self._load)

    def _load(self) -> None:
        try:
            while self._taken and self._turns.takes_more:
                batch = _pop_batch(self._taken)
                self.begun.update(batch)
                self._turns.begins(len(batch))
                batch = self._without_duplicates(batch)
                ids = [message.delivery_id for message in batch]
                try:
                    jobs = patiently("loading deliveries waits for PostgreSQL", self._stages.load, ids)
                    self._tools.breaker.refresh()
                except Exception as error:
                    self._settle_all(batch, error)
                    continue
                for message, job in zip(batch, jobs, strict=True):
                    message.begins()
                    self._begin(message, job)
        finally:
            self._is_loading = False

    def _without_duplicates(self, batch: Sequence[DeliveryMessage]) -> list[DeliveryMessage]:
        """Settles each message whose attempt is in progress already (see Due.brought_forward); returns the others.

        Must run before the load, which may not see the record of an attempt that ends meanwhile.
        """
        unique = []
        for message in batch:
            if self._under_way.setdefault((message.delivery_id, message.attempt), message) is message:
                unique.append(message)
            else:
                self._settle(message)
        return unique

    def _begin(self, message: DeliveryMessage, job: Job | None, *, may_wait: bool = False) -> None:
        """A delivery that may wait for its breaker or rest in a long transformation gets a task of its own, so that it
        does not delay the others."""
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
            logger.exception("a delivery raised an exception")
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
        """Pauses queues before it settles their messages: each settled message lets the next one out."""
        try:
            while self._refused:
                batch = _pop_batch(self._refused)
                postponed = [(message, why) for message, why in batch if isinstance(why, Postponed)]
                if postponed:
                    try:
                        self._stages.hold_back([why for _, why in postponed])
                    except Exception:  # messages that come from these queues are postponed as well
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
            logger.exception("a delivery raised an exception")
            self._settle(message, error)
            return
        if not self._is_recording:
            self._is_recording = True
            self._turns.branch(self._record)
        else:
            self._lingering.check()

    def _record(self) -> None:
        try:
            while self._made:
                self._lingering.wait()
                self._write(_pop_batch(self._made))
        finally:
            self._is_recording = False

    def _write(self, batch: Sequence[tuple[DeliveryMessage, Job, AttemptRecord]]) -> None:
        """Records a batch, or, if that fails, each attempt by itself, so that one bad attempt costs only its own
        record."""
        try:
            records = [made for _, _, made in batch]
            patiently("recording attempts waits for PostgreSQL", self._stages.record, records)
        except Exception as error:
            if len(batch) == 1:
                self._settle(batch[0][0], error)
                return
            logger.exception("a batch was not recorded; recording each attempt by itself")
            for one in batch:
                self._write([one])
        else:
            self._after_commit(batch)

    def _should_record(self) -> bool:
        """Whether to record now: the batch is full, or it has everything in progress and a queue at its cap waits."""
        count = len(self._made)
        return count >= LARGEST_BATCH or (
            count >= len(self.begun) and any(message.is_awaited for message, _, _ in self._made)
        )

    def _after_commit(self, batch: Sequence[tuple[DeliveryMessage, Job, AttemptRecord]]) -> None:
        retries: list[tuple[DeliveryMessage, Due]] = []
        dead: list[tuple[DeliveryMessage, Dead]] = []
        for message, job, made in batch:
            if made.step.disable:
                self._gone.add(made)
            try:
                result = result_of(job, made, self._tools)
            except Exception as error:
                logger.exception("a delivery raised an exception")
                self._settle(message, error)
                continue
            if isinstance(result, TryLater):
                retries.append((message, result.due))
            elif result is not None:
                dead.append((message, (made, result)))
            else:
                self._settle(message)
        if retries:
            self._turns.branch(partial(self._retry, retries))
        if dead:
            self._turns.branch(partial(self._bury, dead))

    def _retry(self, retries: Sequence[tuple[DeliveryMessage, Due]]) -> None:
        try:
            self._stages.publish([due for _, due in retries])
        except Exception:  # they are in PostgreSQL, so reconciliation queues them
            logger.exception("retries were not queued")
        self._settle_all([message for message, _ in retries])

    def _bury(self, dead: Sequence[tuple[DeliveryMessage, Dead]]) -> None:
        try:
            self._stages.store_dead([one for _, one in dead])
        except Exception:
            logger.exception("dead deliveries were not stored as failed tasks")
        self._settle_all([message for message, _ in dead])

    def _settle_all(self, batch: Sequence[DeliveryMessage], error: Exception | None = None) -> None:
        for message in batch:
            self._settle(message, error)

    def _settle(self, message: DeliveryMessage, error: Exception | None = None) -> None:
        """Settles a message, once. A message that is never settled occupies one of the worker's places for ever."""
        if message not in self.begun:
            return
        self.begun.remove(message)
        if self._under_way.get((message.delivery_id, message.attempt)) is message:
            del self._under_way[message.delivery_id, message.attempt]
        self._turns.ends()
        self._lingering.check()
        try:
            message.settle(error)
        except Exception:
            logger.exception("a delivery could not be settled")


def _pop_batch(waiting: deque[Item]) -> list[Item]:
    return [waiting.popleft() for _ in range(min(len(waiting), LARGEST_BATCH))]
