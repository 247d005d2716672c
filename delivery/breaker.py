"""A circuit breaker per subscription: stops sending to an endpoint that is down, probes it, and starts again.

    closed ──(10 failures in a row, or 70 % of at least 20 in a minute)──► open ──(its time is over)──► half-open
       ▲                                                                     ▲                             │
       └───────────────────────────(the probe succeeds)────────────(the probe fails: twice as long)────────┘

A delivery whose breaker is open is postponed, which is not an attempt. Each worker process counts its own attempts,
without a round trip; only opening, probing and closing are shared (`Shared`, in Valkey), so a healthy endpoint costs
nothing. After Valkey loses its data, ten failures open a breaker again. Only failures that say "down" count (no answer,
5xx, 429): an endpoint that answers 400 to some events is up. An attempt that sent nothing does not count at all.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

FAILURES_IN_A_ROW = 10
WINDOW_S = 60.0
WINDOW_MINIMUM = 20
WINDOW_SHARE = 0.7
FIRST_PERIOD_S = 5.0
LONGEST_PERIOD_S = 60.0
REFRESH_S = 0.5
PROBE_S = 35.0
"""Longer than the longest attempt. A probe without a result after this time is taken as lost."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open breaker: nothing is sent before `until` (Unix seconds); `period_s` doubles with each failed probe."""

    until: float
    period_s: float


class Shared(Protocol):
    """The state that worker processes share."""

    def read(self) -> Mapping[str, Opened]:
        """Every breaker that is open or half-open, by subscription."""

    def open(self, subscription_id: str, opened: Opened) -> None: ...

    def close(self, subscription_id: str) -> None: ...

    def take_probe(self, subscription_id: str, for_s: float) -> bool:
        """Returns True to the one process that may probe now."""

    def leave_probe(self, subscription_id: str) -> None: ...


@dataclass(slots=True)
class _Seen:
    """The recent attempts of one subscription in this process."""

    in_a_row: int = 0
    recent: "deque[tuple[float, bool]]" = field(default_factory=lambda: deque(maxlen=200))

    def add(self, now: float, failed: bool) -> None:
        self.in_a_row = self.in_a_row + 1 if failed else 0
        self.recent.append((now, failed))
        while self.recent and self.recent[0][0] < now - WINDOW_S:
            self.recent.popleft()

    def is_down(self) -> bool:
        if self.in_a_row >= FAILURES_IN_A_ROW:
            return True
        failures = sum(failed for _, failed in self.recent)
        return len(self.recent) >= WINDOW_MINIMUM and failures >= WINDOW_SHARE * len(self.recent)


class Breaker:
    """This process' view of every subscription's breaker. Thread-safe."""

    def __init__(self, shared: Shared, clock: Callable[[], float] = time.time) -> None:
        self._shared = shared
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._open: Mapping[str, Opened] = {}
        self._read_at = 0.0
        self._asked: dict[str, float] = {}
        """When this process last asked to probe, by subscription."""
        self._lock = threading.Lock()

    def postponed_until(self, subscription_id: str) -> float | None:
        """When to try again (Unix seconds), or None if the attempt may be made now."""
        now = self._clock()
        opened = self._view(now).get(subscription_id)
        if opened is None:
            return None
        if now < opened.until:
            return opened.until
        if not self._has_asked(subscription_id, now):
            self._asked[subscription_id] = now
            if self._shared.take_probe(subscription_id, PROBE_S):
                return None
        return now + FIRST_PERIOD_S

    def answers_at_once(self, subscription_id: str) -> bool:
        """Whether `postponed_until` returns without a round trip."""
        now, opened = self._clock(), self._open.get(subscription_id)
        return opened is None or now < opened.until or self._has_asked(subscription_id, now)

    def refresh(self) -> None:
        """Reads the shared state, unless it was read in the last REFRESH_S."""
        self._view(self._clock())

    def saw(self, subscription_id: str, failed: bool) -> Opened | None:
        """Counts an attempt. Returns the open breaker if this attempt opened it."""
        now = self._clock()
        known = self._open.get(subscription_id)
        if known is not None and not failed:
            self._shared.close(subscription_id)
            self._forget(subscription_id)
            return None
        with self._lock:
            seen = self._seen.get(subscription_id)
            if seen is None:
                if not failed:
                    return None  # the common case: nothing is kept for a healthy subscription
                seen = self._seen[subscription_id] = _Seen()
            seen.add(now, failed)
            is_down = failed and seen.is_down()
            if not seen.in_a_row and not any(bad for _, bad in seen.recent):
                del self._seen[subscription_id]
        if known is not None:
            if now < known.until:
                return None  # the attempt was in progress when the breaker opened
            period_s = min(known.period_s * 2, LONGEST_PERIOD_S)
        elif is_down:
            period_s = FIRST_PERIOD_S
        else:
            return None
        opened = Opened(now + period_s, period_s)
        self._shared.open(subscription_id, opened)
        self._open = {**self._open, subscription_id: opened}
        return opened if known is None else None

    def saw_nothing(self, subscription_id: str) -> None:
        """An attempt ended without involving the endpoint. If it was the probe, another attempt may probe."""
        opened = self._open.get(subscription_id)
        if opened is not None and opened.until <= self._clock():
            self._asked.pop(subscription_id, None)
            self._shared.leave_probe(subscription_id)

    def _forget(self, subscription_id: str) -> None:
        with self._lock:
            self._seen.pop(subscription_id, None)
        self._open = {key: value for key, value in self._open.items() if key != subscription_id}

    def _view(self, now: float) -> Mapping[str, Opened]:
        if not _is_recent(self._read_at, now):
            self._read_at = now  # before reading, so that one thread reads while others use the old view
            before, self._open = self._open, self._shared.read()
            with self._lock:
                for closed in before.keys() - self._open.keys():  # by another process, whose probe succeeded
                    self._seen.pop(closed, None)
            self._asked = {key: at for key, at in list(self._asked.items()) if key in self._open}
        return self._open

    def _has_asked(self, subscription_id: str, now: float) -> bool:
        return _is_recent(self._asked.get(subscription_id, 0.0), now)


def _is_recent(at: float, now: float) -> bool:
    """A time in the future is not recent: the clock was set back."""
    return 0 <= now - at < REFRESH_S
