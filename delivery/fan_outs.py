"""Makes the deliveries of fan-outs in a worker. Each partner has a task of delivery.turns, which takes a step at a time
and then pauses. So neither deliveries nor other partners' fan-outs wait for a partner, and all of them together take
half of the thread at most.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from delivery.database import with_living_connection
from delivery.fan_out import Aside, Maker
from delivery.passing import is_away
from delivery.turns import Turns
from delivery.waits import offload, sleep
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 20
"""How many fan-outs of a partner a step takes, if the last steps got to all that they took."""
LONGEST_PAUSE_S = 1.0
RETRY_S = 5.0
"""When a message comes again after an error."""


@dataclass(slots=True, eq=False)
class FanOutMessage:
    """A message of a partner's queue that asks for a fan-out.

    `settle` is called once, at its end: with None to acknowledge it, with seconds to put it back for so long.
    """

    fan_out_id: str
    queue: str
    settle: Callable[[float | None], None]
    tag: Any = None
    """The broker's delivery tag."""


class FanOuts:
    """`take` may be called from any thread. After `turns.refuse()`, it begins no more of the messages taken. `make`
    takes a step, as delivery.fan_out.Maker does."""

    def __init__(self, turns: Turns, make: Callable[[Sequence[str], Aside], dict[str, bool]] | None = None) -> None:
        self._turns = turns
        self._make = make or Maker().make_some
        self._waiting: dict[str, deque[FanOutMessage]] = {}
        """By queue, while there is a task for it."""
        self._database = ThreadPoolExecutor(1, "fan-outs")
        """One thread, because this is work for the processor as well."""
        self._trouble = Trouble(logger, "fan-outs wait for PostgreSQL")
        self.begun: set[FanOutMessage] = set()
        """Messages that are being processed, and are not settled yet."""

    def take(self, message: FanOutMessage) -> None:
        self._turns.soon(partial(self._put, message))

    def _put(self, message: FanOutMessage) -> None:
        waiting = self._waiting.get(message.queue)
        if waiting is None:
            waiting = self._waiting[message.queue] = deque()
            self._turns.branch(partial(self._work_off, message.queue, waiting))
        waiting.append(message)

    def _work_off(self, queue: str, waiting: deque[FanOutMessage]) -> None:
        at_once = 1
        try:
            while waiting and self._turns.takes_more:
                began = time.monotonic()
                batch = [waiting.popleft() for _ in range(min(len(waiting), at_once))]
                self.begun.update(batch)
                left = self._step(batch)
                waiting.extendleft(reversed(left))
                at_once = max(1, len(batch) - len(left)) if left else min(2 * at_once, MOST_AT_ONCE)
                sleep(min((time.monotonic() - began) * (2 * len(self._waiting) - 1), LONGEST_PAUSE_S))
        finally:
            del self._waiting[queue]

    def _step(self, batch: Sequence[FanOutMessage]) -> Sequence[FanOutMessage]:
        """Returns the messages that it did not get to."""
        try:
            has_more = self._make([one.fan_out_id for one in batch], self._aside)
        except Exception as error:
            if is_away(error):
                self._trouble.met(error)
            elif len(batch) > 1:  # one of them is at fault, and must not stop the others
                return [left for one in batch for left in self._step([one])]
            else:
                logger.exception("a fan-out raised an exception", extra={"fan_out_id": batch[0].fan_out_id})
            for one in batch:
                self._settle(one, RETRY_S)
            return ()
        self._trouble.over()
        for one in batch:
            if one.fan_out_id in has_more:
                self._settle(one, 0.0 if has_more[one.fan_out_id] else None)
        left = [one for one in batch if one in self.begun]
        self.begun.difference_update(left)
        return left

    def _aside(self, work: Callable[..., Any], *arguments: object) -> Any:
        return offload(with_living_connection(work), *arguments, to=self._database)

    def _settle(self, message: FanOutMessage, delay_s: float | None) -> None:
        self.begun.remove(message)
        try:
            message.settle(delay_s)
        except Exception:
            logger.exception("a fan-out could not be settled")
