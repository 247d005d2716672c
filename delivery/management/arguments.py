"""Shared by the commands for operators: times as arguments, and progress messages."""

import argparse
import re
import time
from datetime import UTC, datetime, timedelta

from django.core.management.base import OutputWrapper

_AGE = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_REPORT_EVERY_S = 2.0


def moment(text: str) -> datetime:
    """Parses an age before now (`90m`, `3h`, `2d`) or an RFC 3339 time with its zone."""
    try:
        if age := _AGE.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is not within the years 1 to 9999") from None
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is neither an age such as 90m, 3h, 2d nor a time with its zone")


def positive(text: str) -> int:
    """Parses a whole number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


class Progress:
    """Writes every two seconds how much is done, to stderr; stdout is for the result."""

    def __init__(self, to: OutputWrapper, what: str, total: int | None = None) -> None:
        self._to, self._what = to, what
        self._of = "" if total is None else f" of {total}"
        self._reported_at = time.monotonic()
        self.done = 0

    def add(self, count: int = 1) -> None:
        self.done += count
        if time.monotonic() - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = time.monotonic()
            self._to.write(f"{self.done}{self._of} {self._what}")
