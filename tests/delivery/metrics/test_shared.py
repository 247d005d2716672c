"""The web's /metrics: the state that all processes share."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.db import connection
from django.test import Client
from prometheus_client.core import Metric
from pytest_django import Settings

from delivery import publish
from delivery.breaker import Opened
from delivery.broker import FairQueues, connect
from delivery.broker.queues import QueueStats
from delivery.metrics.shared import Reading, SharedMetrics, oldest_waiting, shared_metrics
from delivery.models import Delivery
from delivery.sources import SourceUnavailable
from partners.models import Partner, Subscription
from partners.services import create_partner, create_subscription, disable_subscription, pause_partner, resume_partner
from recart_hooks.metrics import KEPT_S, Kept

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SLOW = Partner(id="ptr_slow", name="Slow", paused_until=NOW + timedelta(hours=1))
FAST = Partner(id="ptr_fast", name="Fast")
READING = Reading(
    partners=lambda: {"ptr_slow": SLOW, "ptr_fast": FAST},
    queues=lambda _: {"ptr_slow": QueueStats(7, 2, 1, tokens=2.5), "ptr_fast": QueueStats(0, 0, 3)},
    oldest=lambda: {"ptr_slow": 42.5},
    breakers=dict,
    lag=lambda: 12,
    accepts_writes={},
    now=lambda: NOW,
)


def samples(reading: Reading, most: int = 10) -> Mapping[tuple[str, ...], float]:
    families: list[Metric] = list(SharedMetrics(reading, most).collect())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@pytest.mark.servers
@pytest.mark.django_db
def test_queues_are_told_by_partner_and_in_all() -> None:
    seen = samples(READING)
    assert seen["recart_hooks_queue_ready", "ptr_slow"] == 7
    assert seen["recart_hooks_queue_in_flight", "ptr_fast"] == 3
    assert seen["recart_hooks_queue_oldest_seconds", "ptr_slow"] == 42.5
    assert {key[1]: value for key, value in seen.items() if key[0] == "recart_hooks_queue_tokens"} == {"ptr_slow": 2.5}
    assert (seen["recart_hooks_queue_paused", "ptr_slow"], seen["recart_hooks_queue_paused", "ptr_fast"]) == (1, 0)
    assert [seen["recart_hooks_backlog", state] for state in ("ready", "delayed", "in_flight")] == [7, 2, 4]
    assert seen["recart_hooks_jetstream_lag",] == 12
    assert {key[1]: value for key, value in seen.items() if key[0] == "recart_hooks_server_up"} == dict.fromkeys(
        ("postgresql", "valkey", "nats"), 1
    )


@pytest.mark.servers
@pytest.mark.django_db
def test_of_many_partners_those_with_the_longest_queues_are_named() -> None:
    seen = samples(READING, most=1)
    assert {key[1] for key in seen if key[0] == "recart_hooks_queue_ready"} == {"ptr_slow"}
    assert seen["recart_hooks_backlog", "in_flight"] == 4


@pytest.mark.servers
@pytest.mark.django_db
def test_a_server_that_is_away_costs_its_own_metrics_only() -> None:
    def no_valkey(_: object) -> Mapping[str, QueueStats]:
        raise redis.ConnectionError("refused")

    def no_nats() -> int:
        raise SourceUnavailable("refused")

    seen = samples(replace(READING, queues=no_valkey, lag=no_nats))
    assert seen["recart_hooks_server_up", "valkey"] == seen["recart_hooks_server_up", "nats"] == 0
    assert seen["recart_hooks_server_up", "postgresql"] == 1
    assert seen["recart_hooks_queue_oldest_seconds", "ptr_slow"] == 42.5
    assert ("recart_hooks_queue_ready", "ptr_slow") not in seen


@pytest.mark.servers
@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_without_valkey_no_breakers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if there is no partner, of whose queue it would be asked."""
    away = FairQueues(connect("fair://127.0.0.1:1/0"))
    monkeypatch.setattr(publish, "queues", lambda _timeout_s: away)
    seen = {one.name: one for one in shared_metrics().collect()}
    states = {one.labels["server"]: one.value for one in seen["recart_hooks_server_up"].samples}
    assert states["valkey"] == 0
    assert "recart_hooks_breakers" not in seen


@pytest.mark.servers
@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_a_full_valkey_is_not_up_although_it_answers() -> None:
    valkey = publish.queues(publish.BRIEF_S).client

    def state() -> float:
        seen = {one.name: one for one in shared_metrics().collect()}
        assert "recart_hooks_breakers" in seen
        return {one.labels["server"]: one.value for one in seen["recart_hooks_server_up"].samples}["valkey"]

    valkey.config_set("maxmemory", "1mb")
    try:
        assert state() == 0
    finally:
        valkey.config_set("maxmemory", "0")
    assert state() == 1


@pytest.mark.servers
@pytest.mark.django_db
def test_a_read_only_postgresql_is_not_up_although_it_answers() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    seen = {one.name: one for one in shared_metrics().collect()}
    states = {one.labels["server"]: one.value for one in seen["recart_hooks_server_up"].samples}
    assert states["postgresql"] == 0


@pytest.mark.servers
@pytest.mark.django_db
def test_breakers_and_subscriptions_are_told_by_state(subscription: Subscription) -> None:
    other = create_subscription(create_partner("Loyal Llama"), "https://hooks.llama.com/hook", ["*"])
    disabled = create_subscription(other.partner, "https://hooks.llama.com/2", ["*"])
    disable_subscription(disabled, "gone")
    Subscription.objects.filter(pk=other.pk).update(failing_since=NOW)
    opened = {
        subscription.id: Opened(NOW.timestamp() + 60, 60),
        other.id: Opened(NOW.timestamp() - 1, 5),
        disabled.id: Opened(NOW.timestamp() + 60, 60),
        "sub_gone": Opened(NOW.timestamp(), 5),
    }
    seen = samples(replace(READING, breakers=lambda: opened))
    assert seen["recart_hooks_breaker_state", subscription.partner_id, subscription.id, "open"] == 1
    assert seen["recart_hooks_breaker_state", other.partner_id, other.id, "half_open"] == 1
    assert seen["recart_hooks_breakers",] == 2
    assert [seen["recart_hooks_subscriptions", state] for state in ("enabled", "disabled", "failing")] == [2, 1, 1]


@pytest.mark.servers
@pytest.mark.django_db
@pytest.mark.usefixtures("due")
def test_the_oldest_waiting_is_due_for_longest_and_not_held_by_a_pause(subscription: Subscription) -> None:
    now = datetime.now(UTC)
    for delivery, age_s in zip(Delivery.objects.all(), (-3600, 5, 100), strict=True):
        Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=now - timedelta(seconds=age_s))
    assert oldest_waiting() == {subscription.partner_id: pytest.approx(100, abs=5)}
    pause_partner(subscription.partner)
    assert oldest_waiting() == {}
    resume_partner(subscription.partner)
    assert oldest_waiting().keys() == {subscription.partner_id}
    Delivery.objects.update(next_attempt_at=now + timedelta(hours=1))
    assert oldest_waiting() == {}


@pytest.mark.servers
@pytest.mark.django_db
@pytest.mark.usefixtures("valkey", "nats")
def test_the_web_process_serves_them(client: Client, settings: Settings) -> None:
    create_partner("Awesome Reviews")
    settings.METRICS_TOKEN = "s3cret"
    refused = client.get("/metrics")
    assert (refused.status_code, refused.content) == (401, b"401: a bearer token is needed\n")
    assert client.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    answer = client.get("/metrics", headers={"authorization": "Bearer s3cret"})
    assert answer.status_code == 200
    assert answer["content-type"].startswith("text/plain; version=")
    text = answer.content.decode()
    assert 'recart_hooks_partner_info{name="Awesome Reviews"' in text
    assert 'recart_hooks_server_up{server="postgresql"} 1.0' in text


@pytest.mark.parametrize("header", ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host"])
def test_without_a_token_they_are_not_for_who_comes_through_the_proxy(client: Client, header: str) -> None:
    refused = client.get("/metrics", headers={header: "1.1 proxy"})
    assert (refused.status_code, b"set METRICS_TOKEN" in refused.content) == (401, True)


def test_a_reading_is_kept_for_a_moment() -> None:
    now = 100.0
    read: list[float] = []

    def reader() -> bytes:
        read.append(now)
        return b"metrics"

    kept = Kept(reader, lambda: now)
    kept.get()
    kept.get()
    now += KEPT_S
    assert kept.get() == b"metrics"
    assert read == [100.0, 100.0 + KEPT_S]
