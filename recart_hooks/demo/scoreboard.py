"""Compares what arrived with what was published, and prints a line for each event."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson

from recart_hooks.demo.partners import PARTNERS, DemoPartner
from recart_hooks.demo.receiver import Arrival
from recart_hooks.demo.shop import ShopEvent
from recart_hooks.terminal import paint


@dataclass(slots=True)
class _Progress:
    """One published event."""

    event: ShopEvent
    published_at: float
    missing: set[str]
    """Names of the partners that have not received it yet."""
    results: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Scoreboard:
    """Thread-safe. `say` prints a line; if `is_quiet`, only problems are printed."""

    say: Callable[[str], None]
    is_quiet: bool = False
    now: Callable[[], float] = time.monotonic
    published: int = 0
    arrived: int = 0
    retried: int = 0
    wrong: list[str] = field(default_factory=list)
    """Problems: bad signatures and changed bodies."""
    _open: dict[str, _Progress] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def delivered(self) -> int:
        """How many events of this run have reached every partner that wants them."""
        return self.published - len(self._open)

    def publish(self, event: ShopEvent, partners: Iterable[DemoPartner] = PARTNERS) -> None:
        """Expects the event. Call it before the event is published, because it may arrive at once."""
        wanted = {one.name for one in partners if one.wants(event.type)}
        with self._lock:
            self.published += 1
            if wanted:
                self._open[event.id] = _Progress(event, self.now(), wanted)

    def arrive(self, arrival: Arrival) -> None:
        with self._lock:
            progress = self._open.get(arrival.event_id)
            if not arrival.is_verified:
                self._complain(f"{arrival.partner.name}: the signature of {arrival.event_id} is wrong")
            elif progress is None:
                self._arrive_unexpected(arrival)
            elif arrival.status == 503:
                self._say(progress.event, f"{arrival.partner.name} {paint('✗ has a bad moment (503)', 'yellow')}")
            elif arrival.partner.name in progress.missing:
                self._arrive(progress, arrival)

    def summary(self) -> str:
        waiting = sum(len(progress.missing) for progress in self._open.values())
        words = [
            f"{self.published} events published",
            f"{self.arrived} deliveries arrived, every signature verified",
            f"{self.retried} after a retry",
            f"{waiting} on their way",
        ]
        return paint("── " + " · ".join(words) + (f" · {len(self.wrong)} WRONG" if self.wrong else ""), "bold")

    def missing(self) -> list[str]:
        """A line for each event that has not reached all of its partners."""
        with self._lock:
            return [
                f"{progress.event.id} ({progress.event.type}) has not arrived at {', '.join(sorted(progress.missing))}"
                for progress in self._open.values()
            ]

    def _arrive(self, progress: _Progress, arrival: Arrival) -> None:
        problem = body_problem(progress.event, arrival)
        if problem:
            self._complain(f"{arrival.partner.name}: {progress.event.id}: {problem}")
        latency_s = self.now() - progress.published_at
        self.arrived += 1
        progress.missing.discard(arrival.partner.name)
        if arrival.try_number > 1:
            self.retried += 1
            result = f"{arrival.partner.name} {paint(f'✓ try {arrival.try_number}, {latency_s:.1f} s', 'green')}"
        else:
            result = f"{arrival.partner.name} {paint(f'✓ {latency_s * 1000:.0f} ms', 'green')}"
        progress.results.append(result)
        if not progress.missing:
            del self._open[arrival.event_id]
            self._say(progress.event, "   ".join(progress.results))

    def _arrive_unexpected(self, arrival: Arrival) -> None:
        """An event of an earlier run, one that somebody else published, or a repeated delivery."""
        if arrival.status == 204 and not self.is_quiet:
            self.say(f"{arrival.event_id:<44} {arrival.partner.name} {paint('✓', 'green')}")

    def _say(self, event: ShopEvent, result: str) -> None:
        if not self.is_quiet:
            self.say(f"{event.type:<18} {event.title:<25} {result}")

    def _complain(self, problem: str) -> None:
        self.wrong.append(problem)
        self.say(paint(problem, "red"))


def body_problem(event: ShopEvent, arrival: Arrival) -> str:
    """What is wrong with a delivered body; empty if it is right."""
    if not arrival.partner.transformation:
        return "" if event.data in arrival.body else "the data is not what was published, byte for byte"
    expected = {name: value for name, value in orjson.loads(event.data).items() if name != arrival.partner.omitted}
    return "" if orjson.loads(arrival.body)["data"] == expected else "the data is not what the transformation makes"
