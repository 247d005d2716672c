"""Times for tests."""

from datetime import UTC, datetime, timedelta


def hours_ago(hours: float) -> datetime:
    """The start of the hour in which it was `hours` ago."""
    return (datetime.now(UTC) - timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)


class Clock:
    """A clock that only the test moves, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now
