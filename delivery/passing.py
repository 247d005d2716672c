"""Tells trouble of the servers that passes from mistakes of ours, and says it once."""

import logging
import threading

import redis
from django.db import DatabaseError, InterfaceError, OperationalError

_READ_ONLY = "25006"


def is_passing(error: BaseException) -> bool:
    """Whether PostgreSQL may do the same thing later: it is away, read-only, out of room, or ended our statement."""
    return isinstance(error, (OperationalError, InterfaceError)) or (
        isinstance(error, DatabaseError) and getattr(error.__cause__, "sqlstate", "") == _READ_ONLY
    )


def is_away(error: BaseException) -> bool:
    """The same of PostgreSQL and Valkey."""
    return is_passing(error) or isinstance(error, redis.RedisError)


class Trouble:
    """Something that is tried again and again: logged when it begins to fail and when it is over. Thread-safe."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger, self._what = logger, what
        self._is_known = False
        self._lock = threading.Lock()

    def met(self, error: BaseException) -> None:
        with self._lock:
            is_new, self._is_known = not self._is_known, True
        if is_new:
            self._logger.warning(self._what, extra={"error": str(error).strip()[:300]})

    def over(self) -> None:
        with self._lock:
            was_known, self._is_known = self._is_known, False
        if was_known:
            self._logger.info("going on", extra={"after": self._what})
