"""Times for tests."""

from datetime import UTC, datetime, timedelta


def hours_ago(hours: float) -> datetime:
    """The start of the hour in which it was `hours` ago."""
    return (datetime.now(UTC) - timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)
