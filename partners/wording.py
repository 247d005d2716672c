"""Numbers and lengths of time in sentences for people."""

from datetime import timedelta


def counted(number: int, one: str, many: str = "") -> str:
    """`1 attempt`, `2 attempts`. `many` is the plural if an `s` does not make it."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def span(length: timedelta) -> str:
    """In one unit, rounded down."""
    seconds = int(length.total_seconds())
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
