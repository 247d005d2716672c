"""Distinguishes temporary errors of the servers from our own mistakes, and retries until they are over."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from django.db import DatabaseError, InterfaceError, OperationalError

from delivery.waits import sleep
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

Items = TypeVar("Items")
Answer = TypeVar("Answer")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
_PASSING_STATES = frozenset({"25006", "0A000"})
"""Read-only; and a kept plan whose columns a migration has changed. The error closes its connection, and a new one
makes a new plan."""


def is_passing(error: BaseException) -> bool:
    """Whether the statement may succeed later: PostgreSQL is away, read-only, out of space, or cancelled it."""
    return isinstance(error, (OperationalError, InterfaceError)) or (
        isinstance(error, DatabaseError) and getattr(error.__cause__, "sqlstate", "") in _PASSING_STATES
    )


def is_away(error: BaseException) -> bool:
    """Whether it is a temporary error of PostgreSQL, or any error of Valkey."""
    return is_passing(error) or isinstance(error, redis.RedisError)


def patiently(what: str, work: Callable[[Items], Answer], items: Items) -> Answer:
    """Calls `work` until PostgreSQL is back, with longer and longer pauses. Raises errors that are not temporary.

    In a task of delivery.turns, other tasks go on meanwhile. `what` is logged once, when the trouble begins.
    """
    trouble, pause_s = Trouble(logger, what), FIRST_PAUSE_S
    while True:
        try:
            answer = work(items)
        except Exception as error:
            if not is_passing(error):
                raise
            trouble.met(error)
            sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        else:
            trouble.over()
            return answer


class Silence:
    """The time after a server did not answer in which it is not asked again, so that not every caller waits for a
    timeout of its own."""

    def __init__(self, for_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._for_s, self._clock = for_s, clock
        self._until = 0.0

    def begins(self) -> None:
        self._until = self._clock() + self._for_s

    @property
    def lasts(self) -> bool:
        return self._clock() < self._until
