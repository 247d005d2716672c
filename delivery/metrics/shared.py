"""Metrics of the state that all processes share, read at each scrape of the web's `/metrics`: queues, breakers,
subscriptions, lag.

At most `most` partners are named: those with the longest queues, the oldest deliveries, the longest-open breakers.
Totals count all partners. If a server does not answer, only its own metrics are missing, and `recart_hooks_server_up`
names it, and one that accepts no writes.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import redis
from django.conf import settings
from django.db import Error, connection
from django.db.models import Count, Q
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from delivery import publish
from delivery.breaker import Opened
from delivery.breaker_store import SharedBreakers
from delivery.broker.queues import QueueStats
from delivery.metrics.intake import lag_metric
from delivery.sources import SourceUnavailable
from delivery.sources.lag import read_lag
from partners.models import Partner, Subscription

logger = logging.getLogger(__name__)

_SERVERS: dict[type[Exception], str] = {Error: "postgresql", redis.RedisError: "valkey", SourceUnavailable: "nats"}


@dataclass(frozen=True, slots=True)
class Reading:
    """The functions that read the state; tests pass others."""

    partners: Callable[[], Mapping[str, Partner]]
    queues: Callable[[Iterable[str]], Mapping[str, QueueStats]]
    oldest: Callable[[], Mapping[str, float]]
    breakers: Callable[[], Mapping[str, Opened]]
    lag: Callable[[], int]
    accepts_writes: Mapping[str, Callable[[], bool]]
    """By server. One that is full or a replica answers, but is of no use."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


class SharedMetrics(Collector):
    """`most` limits how many partners are named."""

    def __init__(self, reading: Reading, most: int) -> None:
        self._reading = reading
        self._most = most

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        what = "Whether the server answers and accepts writes."
        up = GaugeMetricFamily("recart_hooks_server_up", what, labels=("server",))
        states = dict.fromkeys(_SERVERS.values(), 1)
        for part in (self._queues, self._oldest, self._breakers, self._subscriptions, self._lag):
            try:
                yield from list(part())
            except tuple(_SERVERS) as error:
                states[next(name for kind, name in _SERVERS.items() if isinstance(error, kind))] = 0
                if isinstance(error, Error):
                    connection.close()  # the next part opens a new one
        for server, accepts_writes in self._reading.accepts_writes.items():
            if states[server] and not accepts_writes():
                states[server] = 0
        for server, state in states.items():
            up.add_metric((server,), state)
        yield up

    def _queues(self) -> Iterator[Metric]:
        now = self._reading.now()
        partners = self._reading.partners()
        stats = self._reading.queues(partners)
        total = GaugeMetricFamily(
            "recart_hooks_backlog",
            "Messages in all partner queues: ready, delayed (not due yet, mostly retries) or in_flight.",
            labels=("state",),
        )
        ready = _by_partner("queue_ready", "Deliveries that are sent as soon as the partner's limits allow.")
        delayed = _by_partner("queue_delayed", "Deliveries that are not due yet, mostly retries.")
        in_flight = _by_partner("queue_in_flight", "Deliveries that a worker holds.")
        tokens = _by_partner(
            "queue_tokens", "Deliveries that the rate limit lets through at once; absent without a limit."
        )
        paused = _by_partner("queue_paused", "Whether the partner's queue is paused: 1 or 0.")
        names = GaugeMetricFamily("recart_hooks_partner_info", "Always 1; partners' names.", labels=("partner", "name"))
        for state in ("ready", "delayed", "in_flight"):
            total.add_metric((state,), sum(getattr(one, state) for one in stats.values()))
        for partner_id in self._named(stats):
            one = stats[partner_id]
            until = partners[partner_id].paused_until
            ready.add_metric((partner_id,), one.ready)
            delayed.add_metric((partner_id,), one.delayed)
            in_flight.add_metric((partner_id,), one.in_flight)
            if one.tokens is not None:
                tokens.add_metric((partner_id,), one.tokens)
            paused.add_metric((partner_id,), int(until is not None and until > now))
            names.add_metric((partner_id, partners[partner_id].name), 1)
        yield from (total, ready, delayed, in_flight, tokens, paused, names)

    def _named(self, stats: Mapping[str, QueueStats]) -> list[str]:
        longest = sorted(stats, key=lambda id_: (-(stats[id_].ready + stats[id_].delayed + stats[id_].in_flight), id_))
        return longest[: self._most]

    def _oldest(self) -> Iterator[Metric]:
        ages = self._reading.oldest()
        oldest = _by_partner(
            "queue_oldest_seconds",
            "For how long the partner's oldest pending delivery has been due; absent while the partner is paused.",
        )
        for partner_id in sorted(ages, key=lambda id_: -ages[id_])[: self._most]:
            oldest.add_metric((partner_id,), ages[partner_id])
        yield oldest
        yield GaugeMetricFamily(
            "recart_hooks_backlog_oldest_seconds",
            "For how long the oldest pending delivery of all partners that are not paused has been due.",
            value=max(ages.values(), default=0.0),
        )

    def _breakers(self) -> Iterator[Metric]:
        opened = self._reading.breakers()
        now = self._reading.now().timestamp()
        enabled = Subscription.objects.filter(pk__in=list(opened), is_enabled=True)
        owners = dict(enabled.values_list("pk", "partner_id"))
        state = GaugeMetricFamily(
            "recart_hooks_breaker_state",
            "1 for each breaker that is open (nothing is sent) or half_open (it may be probed); absent if closed.",
            labels=("partner", "subscription", "state"),
        )
        for subscription_id in sorted(owners, key=lambda id_: -opened[id_].period_s)[: self._most]:
            word = "open" if now < opened[subscription_id].until else "half_open"
            state.add_metric((owners[subscription_id], subscription_id, word), 1)
        yield state
        yield GaugeMetricFamily(
            "recart_hooks_breakers", "Breakers of enabled subscriptions that are not closed.", value=len(owners)
        )

    def _subscriptions(self) -> Iterator[Metric]:
        counted = Subscription.objects.filter(deleted_at=None, is_operational=False).aggregate(
            enabled=Count("pk", filter=Q(is_enabled=True)),
            disabled=Count("pk", filter=Q(is_enabled=False)),
            failing=Count("pk", filter=Q(is_enabled=True, failing_since__isnull=False)),
        )
        family = GaugeMetricFamily(
            "recart_hooks_subscriptions",
            "Subscriptions: enabled, disabled, failing (enabled, but all attempts fail).",
            labels=("state",),
        )
        for name, count in counted.items():
            family.add_metric((name,), count)
        yield family

    def _lag(self) -> Iterator[Metric]:
        yield lag_metric(self._reading.lag())


def shared_metrics() -> SharedMetrics:
    """Metrics of the servers named by the settings."""
    reading = Reading(
        partners=lambda: Partner.objects.only("name", "paused_until").in_bulk(),
        queues=_queue_stats,
        oldest=oldest_waiting,
        breakers=lambda: SharedBreakers(publish.queues(publish.BRIEF_S).client).opened(),
        lag=lambda: read_lag(settings.NATS_URL, settings.NATS_STREAM, settings.NATS_CONSUMER),
        accepts_writes={"postgresql": _postgresql_accepts_writes, "valkey": _valkey_accepts_writes},
    )
    return SharedMetrics(reading, settings.METRICS_PARTNERS)


def _queue_stats(partner_ids: Iterable[str]) -> dict[str, QueueStats]:
    queues = {publish.queue_of(id_): id_ for id_ in partner_ids}
    found = publish.queues(publish.BRIEF_S).stats(list(queues))
    return {queues[queue]: stats for queue, stats in found.items()}


def _postgresql_accepts_writes() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')")
            return bool(cursor.fetchone() == ("off",))
    except Error:
        connection.close()
        return False


def _valkey_accepts_writes() -> bool:
    try:
        publish.queues(publish.BRIEF_S).check()
    except redis.RedisError:
        return False
    return True


def oldest_waiting() -> dict[str, float]:
    """For how many seconds the oldest due delivery of each partner has been due. One index step for each partner.

    Paused partners are left out: what waits because somebody wants it to is no sign of trouble.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.id, extract(epoch FROM now() - oldest.due_at)::float8
            FROM partners_partner p CROSS JOIN LATERAL (SELECT least(
                (SELECT next_attempt_at FROM delivery_delivery d
                 WHERE d.status = 'pending' AND d.partner_id = p.id ORDER BY next_attempt_at LIMIT 1),
                (SELECT created_at FROM delivery_fanout f WHERE f.partner_id = p.id ORDER BY created_at LIMIT 1)
            ) AS due_at) AS oldest
            WHERE oldest.due_at < now() AND (p.paused_until IS NULL OR p.paused_until <= now())
            """
        )
        return dict(cursor.fetchall())


def _by_partner(name: str, help_: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"recart_hooks_{name}", help_, labels=("partner",))
