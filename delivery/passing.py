"""Tells trouble of PostgreSQL that passes from mistakes of ours."""

from django.db import DatabaseError, InterfaceError, OperationalError


def is_passing(error: BaseException) -> bool:
    """Whether PostgreSQL may do the same thing later: it is away, read-only, out of room, or ended our statement."""
    return isinstance(error, (OperationalError, InterfaceError)) or (
        isinstance(error, DatabaseError) and "read-only" in str(error)
    )
