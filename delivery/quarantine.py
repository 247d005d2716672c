"""Partners whose endpoints kept this worker process busy: it sends them nothing for a while.

One attempt at such an endpoint costs all partners some 50 ms (delivery.sending.guard). Each worker process knows only
what it met itself.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_PERIOD_S = 10.0
LONGEST_PERIOD_S = 600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Period:
    until: float
    period_s: float


class Quarantine:
    """Each period that begins within LONGEST_PERIOD_S after the last is twice as long."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._periods: dict[str, _Period] = {}

    def add(self, partner_id: str) -> None:
        if not partner_id:
            return
        now = self._clock()
        self._periods = {key: one for key, one in self._periods.items() if now < one.until + LONGEST_PERIOD_S}
        last = self._periods.get(partner_id)
        if last is not None and now < last.until:
            return  # the attempt began before
        period_s = FIRST_PERIOD_S if last is None else min(last.period_s * 2, LONGEST_PERIOD_S)
        self._periods[partner_id] = _Period(now + period_s, period_s)
        logger.warning("an endpoint kept the worker busy", extra={"partner_id": partner_id, "paused_s": period_s})

    def until(self, partner_id: str) -> float | None:
        """When to send to this partner again (Unix seconds); None if now."""
        period = self._periods.get(partner_id)
        return period.until if period is not None and self._clock() < period.until else None
