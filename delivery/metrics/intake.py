"""The bridge's metrics: counts of what it processed, and the source's lag."""

import contextlib
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from delivery.bridge import Counts
from delivery.sources import SourceUnavailable


class BridgeMetrics(Collector):
    """Reads the bridge's counts. `lag` returns how many messages wait in the source; it may raise SourceUnavailable."""

    def __init__(self, counts: Counts, lag: Callable[[], int]) -> None:
        self._counts = counts
        self._lag = lag

    def describe(self) -> list[Metric]:
        return list(self._of_counts())

    def collect(self) -> Iterator[Metric]:
        yield from self._of_counts()
        with contextlib.suppress(SourceUnavailable):
            yield lag_metric(self._lag())

    def _of_counts(self) -> Iterator[Metric]:
        counts = self._counts
        for name, help_, value in (
            ("events", "Events stored.", counts.events),
            ("duplicates", "Messages whose event was stored before.", counts.duplicates),
            ("dead_letters", "Messages that could not become events.", counts.dead_letters),
            ("deliveries", "Deliveries created for events.", counts.deliveries),
            ("fan_outs", "Fan-outs stored: a partner's deliveries of an event, to be made later.", counts.fan_outs),
        ):
            yield CounterMetricFamily(f"recart_hooks_bridge_{name}", help_, value=value)
        yield GaugeMetricFamily(
            "recart_hooks_bridge_unpublished",
            "Deliveries stored but not queued since the broker went away; 0 while it answers.",
            value=counts.unpublished,
        )
        yield GaugeMetricFamily(
            "recart_hooks_bridge_fetch_timestamp_seconds",
            "When the bridge last asked its source for messages, in Unix seconds.",
            value=counts.fetched_at,
        )


def lag_metric(lag: int) -> Metric:
    return GaugeMetricFamily("recart_hooks_jetstream_lag", "Messages in the stream that are not stored yet.", value=lag)
