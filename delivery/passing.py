"""Tells trouble of the servers that passes from mistakes of ours."""

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
