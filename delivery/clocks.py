"""Which clock counts. A host's clock may be wrong, even by hours. Times that processes on several hosts share are those
of a server's clock, and are converted with the difference between the clocks.

Valkey's clock: due times, rates, pauses, breakers. PostgreSQL's clock: which deliveries are overdue, which rows are old
enough to be removed. The host's clock: when an attempt was made, and the timestamp that it signs.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import redis
from django.db import connection

from partners.models import FOREVER
from partners.trouble import Trouble

MOST_APART_S = 60.0
"""Receivers refuse timestamps that are five minutes off."""

logger = logging.getLogger(__name__)
_wrong = Trouble(logger, "the clocks of this host and of Valkey differ: signatures may be refused")


def database_now() -> datetime:
    """Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def moment_of(unix_s: float) -> datetime:
    """Valkey's time as a datetime; `inf` is FOREVER."""
    return FOREVER if unix_s == float("inf") else datetime.fromtimestamp(unix_s, UTC)


def ahead_of_valkey_s(client: "redis.Redis", clock: Callable[[], float] = time.time) -> float:
    """How far this host's clock is ahead of Valkey's; negative if it is behind. Raises redis.RedisError."""
    return ahead_of_s(client.time(), clock)


def ahead_of_s(time_there: tuple[int, int], clock: Callable[[], float] = time.time) -> float:
    """The same, from the server's answer to TIME. Logs a difference of more than MOST_APART_S."""
    seconds, microseconds = time_there
    ahead_s = clock() - seconds - microseconds / 1_000_000
    if abs(ahead_s) > MOST_APART_S:
        _wrong.met(ValueError(f"this host is {ahead_s:+.0f} s from Valkey's clock"))
    else:
        _wrong.over()
    return ahead_s
