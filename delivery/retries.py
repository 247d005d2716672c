"""Decides what follows an attempt: success, another attempt after a delay, or death.

Pure. Attempts are numbered from 1. After attempt n fails, the n-th delay of the schedule follows; the attempt after the
last delay is the last one. A retry by hand counts as the next attempt of the schedule; if it fails beyond the schedule,
the delivery is dead. Waiting for a rate limit is not an attempt.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from delivery.outcomes import ErrorClass, Outcome

FIRST_DELAY_S = 5.0
LONGEST_DELAY_S = 10 * 3600.0
_GROWTH = 3
_DELAYS = 15

DEFAULT_SCHEDULE_S: Final[tuple[float, ...]] = tuple(
    min(FIRST_DELAY_S * _GROWTH**n, LONGEST_DELAY_S) for n in range(_DELAYS)
)
"""5 s, 15 s, 45 s … 9 h, then 10 h six times: 16 attempts over 3 days and 2 hours."""

JITTER = 0.2
"""Each delay varies at random by up to this fraction, so that deliveries that failed together spread out."""

DISABLE_GONE = "gone"

_RETRY_AFTER_STATUSES = frozenset({429, 503})
_NEVER_SUCCEEDS = frozenset({ErrorClass.TRANSFORM, ErrorClass.DISABLED})
_GONE = 410
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")  # an integer by the RFC; some servers send fractions


@dataclass(frozen=True, slots=True)
class Step:
    """The delivery's new status: `pending` has a delay. `disable` is the reason to disable the subscription, if any."""

    status: Literal["succeeded", "pending", "dead"]
    delay_s: float | None = None
    disable: str | None = None


def decide(
    outcome: Outcome,
    attempt: int,
    schedule: Sequence[float],
    retry_after_cap_s: float,
    now: float,
    random: Callable[[], float],
) -> Step:
    """The step after attempt `attempt`. `schedule` is in seconds, `now` in Unix seconds, `random` returns [0, 1)."""
    if attempt < 1:
        raise ValueError(f"attempts are numbered from 1, not {attempt}")
    if outcome.succeeded:
        return Step("succeeded")
    if outcome.status_code == _GONE:
        return Step("dead", disable=DISABLE_GONE)
    if outcome.error in _NEVER_SUCCEEDS or attempt > len(schedule):
        return Step("dead")
    own = schedule[attempt - 1] * (1 + JITTER * (2 * random() - 1))
    return Step("pending", max(own, min(_asked_s(outcome, now), retry_after_cap_s)))


def parse_retry_after(value: str, now: float) -> float | None:
    """The delay in seconds that a Retry-After header asks for, with a number or an HTTP date (RFC 9110, 10.2.3).

    Never negative; None if the header cannot be parsed.
    """
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # `-0000`, or the asctime format, which is UTC in HTTP
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _asked_s(outcome: Outcome, now: float) -> float:
    """The delay that the endpoint asks for; 0 if it asks for none, or if its status may not ask for one."""
    if outcome.retry_after is None or outcome.status_code not in _RETRY_AFTER_STATUSES:
        return 0.0
    return parse_retry_after(outcome.retry_after, now) or 0.0
