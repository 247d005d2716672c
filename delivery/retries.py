"""Decides what follows an attempt: success, another attempt after a delay, or the end.

Pure. Attempts are numbered from 1; attempt n that fails is followed after the n-th delay of the schedule, and the
attempt after the last delay is the last one. An attempt made by hand counts as the next one and moves the schedule on;
beyond the schedule its failure is final. Waiting for a rate limit is no attempt and never comes here.
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
"""Each delay is drawn from ± this part of it, so that what failed together does not come back together."""

DISABLE_GONE = "gone"

_RETRY_AFTER_STATUSES = frozenset({429, 503})
_NEVER_SUCCEEDS = frozenset({ErrorClass.TRANSFORM, ErrorClass.DISABLED})
_GONE = 410
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")  # whole by the RFC; some servers write fractions


@dataclass(frozen=True, slots=True)
class Step:
    """What the delivery becomes. `pending` has a delay; `disable` is the reason to disable the subscription, if any."""

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
    """The step after attempt number `attempt`. `schedule` is in seconds, `now` in Unix seconds, `random` in [0, 1)."""
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
    """Seconds from `now` that a Retry-After header asks for: a number or an HTTP date (RFC 9110, 10.2.3).

    Never negative; None for what can't be read.
    """
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # `-0000`, or asctime, which HTTP means in UTC
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _asked_s(outcome: Outcome, now: float) -> float:
    """What the endpoint asks for; 0 when it does not ask, or when its answer is none that can ask."""
    if outcome.retry_after is None or outcome.status_code not in _RETRY_AFTER_STATUSES:
        return 0.0
    return parse_retry_after(outcome.retry_after, now) or 0.0
