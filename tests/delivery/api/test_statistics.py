"""Statistics by the API, read from the roll-ups."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from delivery.histogram import SIZE, bucket_of
from delivery.models import Rollup
from partners.models import Subscription
from tests.api_calls import caller, is_problem, subscription_of

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = "since=2026-05-01T00:00:00Z&until=2026-05-02T00:00:00Z"


@pytest.fixture(autouse=True)
def minutes_are_kept(settings: Settings) -> None:
    settings.MINUTES_KEPT_DAYS = 36_500


def counted(
    subscription: Subscription, minute: int = 0, attempts: int = 10, latency_ms: float = 40, resolution_s: int = 60
) -> None:
    histogram = [0] * SIZE
    histogram[bucket_of(latency_ms)] = attempts
    Rollup.objects.create(
        resolution_s=resolution_s,
        starts_at=NOON + timedelta(minutes=minute),
        subscription=subscription,
        partner_id=subscription.partner_id,
        attempts=attempts,
        failures=1,
        succeeded=attempts - 1,
        dead=0,
        latency_sum_ms=latency_ms * attempts,
        histogram=histogram,
    )


def test_counts_are_given_in_total_by_time_and_by_subscription() -> None:
    one = caller()
    first, second = subscription_of(one.partner), subscription_of(one.partner)
    counted(first)
    counted(second, minute=5)
    counted(second, minute=65)
    counted(subscription_of(caller(partner="Other").partner), attempts=1000)

    body = one.get(f"/stats?{DAY}").json()

    total = body["total"]
    assert (total["attempts"], total["failures"], total["error_share"], total["mean_ms"]) == (30, 3, 0.1, 40)
    assert 38 <= total["p50_ms"] <= total["p99_ms"] <= 57
    assert [(step["starts_at"][11:16], step["attempts"]) for step in body["steps"]] == [("12:00", 20), ("13:00", 10)]
    assert {item["subscription_id"]: item["attempts"] for item in body["subscriptions"]} == {
        first.pk: 10,
        second.pk: 20,
    }
    assert one.get(f"/stats?{DAY}&subscription_id={first.pk}").json()["total"]["attempts"] == 10
    assert len(one.get(f"/stats?{DAY}&step_s=60").json()["steps"]) == 3


def test_a_day_whose_minutes_were_removed_is_counted_by_hours(settings: Settings) -> None:
    settings.MINUTES_KEPT_DAYS = 14
    one = caller()
    counted(subscription_of(one.partner), resolution_s=3600)

    body = one.get("/stats?since=2026-05-01T00:30:00Z&until=2026-05-02T00:00:00Z").json()

    assert (body["total"]["attempts"], body["since"][:16]) == (10, "2026-05-01T00:00")
    assert is_problem(one.get(f"/stats?{DAY}&step_s=60"), 400, "invalid", "step_s")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (("2026-04-28T12:30:00", "2026-05-01T12:30:00"), ("2026-04-28T12:00:00", "2026-05-01T13:00:00")),
        (("2026-04-29T12:30:30", "2026-05-01T12:30:30"), ("2026-04-29T12:30:00", "2026-05-01T12:31:00")),
        (("2026-04-29T00:00:00", "2026-05-01T13:00:00"), ("2026-04-29T00:00:00", "2026-05-01T13:00:00")),
    ],
    ids=["hours", "minutes", "whole"],
)
def test_the_answer_says_which_span_was_counted(asked: tuple[str, str], answered: tuple[str, str]) -> None:
    since, until = asked

    body = caller().get(f"/stats?since={since}Z&until={until}Z").json()

    assert (body["since"], body["until"]) == tuple(f"{time}.000000Z" for time in answered)


def test_nothing_sent_has_no_latency() -> None:
    total = caller().get("/stats").json()["total"]

    assert (total["attempts"], total["error_share"], total["p95_ms"]) == (0, None, None)


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("since=2026-05-02T00:00:00Z&until=2026-05-01T00:00:00Z", "since"),
        ("since=2020-05-02T00:00:00Z&until=2026-05-01T00:00:00Z", "since"),
        ("until=0001-01-01T00:00:00Z&since=0001-01-01T00:00:00Z", "since"),
        (f"{DAY}&step_s=61", "step_s"),
        ("since=2026-01-01T00:00:00Z&until=2026-05-01T00:00:00Z&step_s=60", "step_s"),
        ("since=2025-06-01T00:00:00Z&until=2026-05-01T00:00:00Z&step_s=3600", "step_s"),
    ],
)
def test_a_span_has_bounds(query: str, place: str) -> None:
    assert is_problem(caller().get(f"/stats?{query}"), 400, "invalid", place)


def test_a_subscription_of_somebody_else_is_not_there() -> None:
    other: Any = subscription_of(caller(partner="Other").partner)

    assert is_problem(caller().get(f"/stats?subscription_id={other.pk}"), 404, "not_found")
