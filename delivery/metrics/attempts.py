"""Attempts by partner, event type and outcome; latencies; the delay from an event to its first request.

Attempts are counted as they are recorded, a batch at a time, in plain lists and dictionaries under one lock (about a
microsecond an attempt), and converted for Prometheus only when it scrapes. Latencies have the same bounds as in the
roll-ups, so Prometheus, the admin and the API compute the same percentiles.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from django.conf import settings
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from delivery.histogram import BOUNDS_MS, SIZE, bucket_of
from delivery.metrics.labels import OTHER, PartnerLabels, look_up
from delivery.metrics.process import REGISTRY
from delivery.outcomes import ErrorClass, Outcome
from delivery.recorder import AttemptRecord

DELAY_BOUNDS_S: tuple[float, ...] = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400,
)  # fmt: skip
MOST_KINDS = 100
"""Pairs of event type and outcome counted for one partner in a process. Further types are counted as `other`."""


class _Partner:
    """The counts of one partner label."""

    __slots__ = ("attempts", "delay_s", "delays", "latencies", "latency_ms", "statuses")

    def __init__(self) -> None:
        self.attempts: dict[tuple[str, str], int] = defaultdict(int)
        self.statuses: dict[str, int] = defaultdict(int)
        self.latencies = [0] * SIZE
        self.latency_ms = 0.0
        self.delays = [0] * (len(DELAY_BOUNDS_S) + 1)
        self.delay_s = 0.0

    def count(self, record: AttemptRecord) -> None:
        outcome = record.outcome
        kind = (record.event_type, outcome_label(outcome))
        if kind not in self.attempts and len(self.attempts) >= MOST_KINDS:
            kind = (OTHER, kind[1])
        self.attempts[kind] += 1
        self.statuses[record.step.status] += 1
        if record.request_headers:
            self.latencies[bucket_of(outcome.latency_ms)] += 1
            self.latency_ms += outcome.latency_ms
        if record.event_delay_s is not None:
            self.delays[bisect_left(DELAY_BOUNDS_S, record.event_delay_s)] += 1
            self.delay_s += record.event_delay_s


class AttemptMetrics(Collector):
    """`add` counts recorded attempts; `collect` is called at each scrape. Thread-safe."""

    def __init__(self, labels: PartnerLabels) -> None:
        self._labels = labels
        self._partners: dict[str, _Partner] = {}
        self._lock = threading.Lock()

    def add(self, records: Iterable[AttemptRecord]) -> None:
        with self._lock:
            for record in records:
                label = self._labels.of(record.partner_id)
                partner = self._partners.get(label)
                if partner is None:
                    partner = self._partners[label] = _Partner()
                partner.count(record)

    def describe(self) -> Iterable[Metric]:
        """Empty metrics, so that registering collects nothing."""
        return _Families().all

    def collect(self) -> Iterator[Metric]:
        self._refresh_labels()
        families = _Families()
        with self._lock:
            for label, partner in self._partners.items():
                families.add(label, partner)
        yield from families.all

    def _refresh_labels(self) -> None:
        with self._lock:
            is_due = self._labels.is_due()
        if not is_due:
            return
        busiest = self._labels.look()  # queries PostgreSQL, so without the lock
        with self._lock:
            for label in self._labels.name(busiest):
                self._partners.pop(label, None)


@lru_cache(maxsize=1)
def attempt_metrics() -> AttemptMetrics:
    """The metrics of this process, served at its port."""
    metrics = AttemptMetrics(PartnerLabels(settings.METRICS_PARTNERS, look_up))
    REGISTRY.register(metrics)
    return metrics


class _Families:
    """The metrics of one scrape."""

    def __init__(self) -> None:
        self.attempts = CounterMetricFamily(
            "recart_hooks_attempts",
            "Attempts (HTTP requests), by outcome.",
            labels=("partner", "event_type", "outcome"),
        )
        self.statuses = CounterMetricFamily(
            "recart_hooks_deliveries",
            "Deliveries that ended: succeeded or dead.",
            labels=("partner", "status"),
        )
        self.retries = CounterMetricFamily(
            "recart_hooks_retries", "Attempts after which another one was scheduled.", labels=("partner",)
        )
        self.latency = HistogramMetricFamily(
            "recart_hooks_attempt_duration_seconds",
            "Time from the start of a request to its complete answer, or to its failure.",
            labels=("partner",),
        )
        self.delay = HistogramMetricFamily(
            "recart_hooks_event_delay_seconds",
            "Time from when an event happened to its first request.",
            labels=("partner",),
        )
        self.all: Sequence[Metric] = (self.attempts, self.statuses, self.retries, self.latency, self.delay)

    def add(self, label: str, partner: _Partner) -> None:
        for (event_type, outcome), count in partner.attempts.items():
            self.attempts.add_metric((label, event_type, outcome), count)
        for status in ("succeeded", "dead"):
            self.statuses.add_metric((label, status), partner.statuses.get(status, 0))
        self.retries.add_metric((label,), partner.statuses.get("pending", 0))
        self.latency.add_metric((label,), _buckets(_BOUNDS_S, partner.latencies), partner.latency_ms / 1000)
        self.delay.add_metric((label,), _buckets(DELAY_BOUNDS_S, partner.delays), partner.delay_s)


_BOUNDS_S = [bound / 1000 for bound in BOUNDS_MS]


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus' buckets are cumulative and named by their upper bound."""
    names = [*map(floatToGoString, bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))


def outcome_label(outcome: Outcome) -> str:
    """`succeeded`, the class of the status (`http_4xx`, `http_5xx`, …), or the class of the error."""
    if outcome.error is None:
        return "succeeded"
    if outcome.error is ErrorClass.STATUS and outcome.status_code:
        return f"http_{outcome.status_code // 100}xx"
    return outcome.error.value
