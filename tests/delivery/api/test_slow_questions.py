"""Slow queries are cut off with an error, one is allowed at a time, and other requests are not affected."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from delivery import backlog, replay
from partners.api import costly
from partners.api.base import ApiView
from tests.api_calls import Caller, caller, is_problem, subscription_of
from tests.delivery.broker.waiting import until
from tests.locks import locked, somebody_waits

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey", "short_times")]

SINCE = "2026-05-01T00:00:00Z"
EVENT = {"id": "e1", "type": "orders.created", "data": {}}


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costly, "QUICK_S", 0.1)
    monkeypatch.setattr(costly, "LONGEST_S", 0.3)
    monkeypatch.setattr(backlog, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(replay, "COUNTED_FOR_S", 0.3)
    monkeypatch.setattr(ApiView, "query_time_s", 0.5)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        executor.submit(connections.close_all).result()


def replay_of(one: Caller) -> dict[str, str]:
    return {"subscription_id": subscription_of(one.partner).pk, "mode": "missing", "since": SINCE}


def timeout_now() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ("delivery_delivery", "/deliveries?event_type=orders.created"),
        ("delivery_rollup", "/stats"),
        ("partners_auditentry", "/audit-log"),
        ("delivery_replayjob", "/replays"),
        ("partners_subscription", "/subscriptions"),
        ("delivery_event", "/events/e1"),
    ],
)
def test_what_takes_too_long_is_cut_off_with_a_reason(table: str, path: str) -> None:
    one = caller()
    with locked(f"LOCK {table}"):
        answer = one.get(path)
    assert is_problem(answer, 503, "too_slow")
    assert answer["Retry-After"] == "10"
    assert timeout_now() == "0"


def test_a_change_that_waits_too_long_changes_nothing() -> None:
    one = caller()
    with locked("SELECT FROM partners_partner FOR UPDATE"):
        assert is_problem(one.patch("/partner", {"rate_limit": "5/s"}), 503, "too_slow")
    one.partner.refresh_from_db()
    assert one.partner.rate_limit == ""


def test_a_replay_that_cannot_be_counted_in_time_can_be_made() -> None:
    one = caller()
    wanted = replay_of(one)
    with locked("LOCK delivery_event"):
        assert one.post("/replays/estimate", wanted).json() == {"count": None, "is_exact": False}
        made = one.post("/replays", wanted)
    assert (made.status_code, made.json()["total"], made.json()["is_total_exact"]) == (201, None, False)


def test_a_partner_asks_one_slow_question_at_a_time(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "COUNTED_FOR_S", 30)
    one, other = caller(), caller(partner="Okendo")
    wanted, others = replay_of(one), replay_of(other)
    with locked("LOCK delivery_event, delivery_delivery"):
        first: Future[Any] = thread.submit(one.post, "/replays/estimate", wanted)
        until(somebody_waits, "it counts")
        monkeypatch.setattr(replay, "COUNTED_FOR_S", 0.3)
        for path, body in (("/replays/estimate", wanted), ("/replays", wanted)):
            assert is_problem(one.post(path, body), 429, "busy")
        assert is_problem(one.get("/deliveries"), 429, "busy")
        assert one.get("/queue").json()["oldest_waiting_s"] is None
        assert one.get("/subscriptions").status_code == 200
        assert other.post("/replays/estimate", others).json()["count"] is None
    assert first.result(30).json() == {"count": 0, "is_exact": True}


def test_publishing_may_wait_for_longer(thread: ThreadPoolExecutor) -> None:
    producer = caller("producer")
    assert producer.post("/events", EVENT).status_code == 202
    with locked("LOCK delivery_event IN EXCLUSIVE MODE"):
        published = thread.submit(producer.post, "/events", {**EVENT, "id": "e2"})
        until(somebody_waits, "it stores")
        with pytest.raises(TimeoutError):
            published.result(ApiView.query_time_s * 2)
    assert published.result(30).json()["stored"] == 1


def test_what_is_asked_after_the_request_may_take_its_time() -> None:
    one = caller()
    assert one.get("/deliveries").status_code == 200
    assert timeout_now() == "0"
    assert one.get("/deliveries/dlv_" + "0" * 32).status_code == 404
    assert timeout_now() == "0"
