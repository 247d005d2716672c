"""The delivery log: filters, attempts, retrying a delivery; reading and expunging events."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from delivery.deliver import EXPUNGED
from delivery.models import Attempt, Delivery, Event
from partners import services
from partners.identifiers import new_id
from partners.models import AuditEntry, Subscription
from tests.api_calls import Caller, caller, is_problem, subscription_of
from tests.rows import NOON, new_delivery, new_event

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


def delivered(subscription: Subscription, event_id: str = "", **fields: Any) -> Delivery:
    id_ = event_id or new_id("evt")
    event = Event.objects.filter(pk=id_).first() or new_event(id=id_, data='{"n": 1.10, "a": 1}')
    return new_delivery(subscription, event, **{"status": "succeeded", "attempt_count": 1, **fields})


def attempted(delivery: Delivery, number: int = 1, **fields: Any) -> Attempt:
    values = {"started_at": NOON, "latency_ms": 42.5, "status_code": 200, **fields}
    return Attempt.objects.create(delivery=delivery, number=number, **values)


def ids(one: Caller, query: str = "") -> list[str]:
    answer = one.get(f"/deliveries{query}")
    assert answer.status_code == 200, answer.content
    return [item["id"] for item in answer.json()["items"]]


def test_deliveries_are_found_by_what_one_knows_of_them() -> None:
    one = caller()
    first, second = subscription_of(one.partner), subscription_of(one.partner)
    old = delivered(first, "o-1", created_at=NOON)
    failed = delivered(second, "o-1", status="dead")
    other = delivered(second, "o-2", event_type="carts.abandoned")

    assert ids(one) == [other.pk, failed.pk, old.pk]
    assert ids(one, "?status=dead") == [failed.pk]
    assert ids(one, f"?subscription_id={first.pk}") == [old.pk]
    assert ids(one, "?event_id=o-1") == [failed.pk, old.pk]
    assert ids(one, "?event_type=carts.abandoned") == [other.pk]
    assert ids(one, "?event_type=orders.*") == [failed.pk, old.pk]
    assert ids(one, "?event_type=*") == [other.pk, failed.pk, old.pk]
    assert ids(one, "?event_type=orders") == []
    assert ids(one, "?status=dead&event_type=carts.abandoned") == []


def test_deliveries_are_found_by_time() -> None:
    one = caller()
    made = delivered(subscription_of(one.partner))
    before, after = (timezone.now() + timedelta(minutes=sign) for sign in (-1, 1))

    assert ids(one, f"?since={before:%Y-%m-%dT%H:%M:%SZ}") == [made.pk]
    assert ids(one, f"?until={after:%Y-%m-%dT%H:%M:%SZ}") == [made.pk]
    assert ids(one, f"?since={after:%Y-%m-%dT%H:%M:%SZ}") == []
    assert ids(one, f"?until={before:%Y-%m-%dT%H:%M:%SZ}") == []
    assert ids(one, "?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z") == [made.pk]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("status=failed", "status"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("x=1", "x"),
        *((f"event_type={type_}", "event_type") for type_ in ("orders*", "orders.", "*.created", "o*.x")),
    ],
)
def test_a_filter_that_is_not_understood_is_refused(query: str, place: str) -> None:
    assert is_problem(caller().get(f"/deliveries?{query}"), 400, "invalid", place)


def test_a_page_costs_the_same_whatever_its_length(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    for _ in range(20):
        attempted(delivered(subscription))
    one.get("/partner")

    with django_assert_num_queries(7):  # the key, and the page in a transaction; both with a time limit
        page = one.get("/deliveries?limit=15").json()
    assert len(page["items"]) == 15
    with django_assert_num_queries(7):
        rest = one.get(f"/deliveries?limit=15&cursor={page['next_cursor']}").json()
    assert (len(rest["items"]), rest["next_cursor"]) == (5, None)


def test_attempts_show_what_was_sent_and_what_came_back_and_no_id() -> None:
    one = caller()
    delivery = delivered(subscription_of(one.partner), attempt_count=2)
    attempted(delivery, 1, status_code=None, error="timeout", detail="no answer within 15 s", worker="host-7:1")
    attempted(
        delivery,
        2,
        request_headers="webhook-id: o-1\nAuthorization: Bearer: x",
        response_headers="server: nginx",
        response_excerpt="ok",
    )

    page = one.get(f"/deliveries/{delivery.pk}/attempts?limit=1").json()
    rest = one.get(f"/deliveries/{delivery.pk}/attempts?cursor={page['next_cursor']}").json()

    assert (page["items"][0]["error"], page["items"][0]["status_code"]) == ("timeout", None)
    (second,) = rest["items"]
    assert second == {
        "number": 2,
        "started_at": "2026-05-01T12:00:00.000000Z",
        "latency_ms": 42.5,
        "status_code": 200,
        "error": "",
        "detail": "",
        "request_headers": {"webhook-id": "o-1", "Authorization": "Bearer: x"},
        "response_headers": {"server": "nginx"},
        "response_excerpt": "ok",
    }
    assert one.get(f"/deliveries/{delivery.pk}/attempts/2").json() == second
    for number in ("3", "0", "x", "99999999999999999999"):
        assert is_problem(one.get(f"/deliveries/{delivery.pk}/attempts/{number}"), 404, "not_found")
    assert is_problem(one.get(f"/deliveries/{delivery.pk}/attempts?cursor=WyJ4Il0"), 404, "invalid", "cursor")


@pytest.mark.parametrize("status", ["dead", "succeeded"])
def test_a_delivery_that_ended_is_sent_again(status: str) -> None:
    one = caller()
    delivery = delivered(subscription_of(one.partner), status=status)

    answer = one.post(f"/deliveries/{delivery.pk}/retry")

    assert (answer.status_code, answer.json()["status"], answer.json()["finished_at"]) == (202, "pending", None)
    assert AuditEntry.objects.get(action="delivery.retry").actor_id == one.key.pk


def test_a_disabled_subscription_gets_no_retry() -> None:
    one = caller()
    delivery = delivered(subscription_of(one.partner), status="dead")
    services.disable_subscription(delivery.subscription, "partner")

    assert is_problem(one.post(f"/deliveries/{delivery.pk}/retry"), 409, "not_retryable")
    assert Delivery.objects.get().status == "dead"


def test_an_event_is_read_as_it_came_by_who_got_it() -> None:
    one = caller()
    delivered(subscription_of(one.partner), "shop/order 7".replace(" ", "-"))

    answer = one.get("/events/shop/order-7")

    assert b'"data":{"n": 1.10, "a": 1}' in answer.content
    assert caller("producer").get("/events/shop/order-7").status_code == 200
    assert is_problem(caller(partner="Other").get("/events/shop/order-7"), 404, "not_found")
    assert is_problem(one.get("/events/never"), 404, "not_found")


@pytest.mark.parametrize("event_id", ["o/1/expunge", "deliveries", "//", "a%2Fb", "?x=1#y", "o-1/"])
def test_an_event_is_reached_whatever_its_id_is(event_id: str) -> None:
    delivered(subscription_of(caller().partner), event_id)

    assert caller("producer").get(f"/events/{quote(event_id, safe='/')}").json()["id"] == event_id


def test_expunging_forgets_what_happened_but_not_that_it_did() -> None:
    one, producer = caller(), caller("producer")
    subscription, other = subscription_of(one.partner), subscription_of(one.partner)
    done = delivered(subscription, "o-1")
    attempted(done, response_excerpt="thanks for n 1.10", response_headers="x-n: 1.10")
    waiting = delivered(other, "o-1", next_attempt_at=timezone.now(), status="pending")

    answer = producer.delete("/events/o-1")

    assert (answer.json()["data"], answer.json()["expunged_at"] is None) == (None, False)
    assert b"1.10" not in one.get(f"/deliveries/{done.pk}/attempts").content
    waiting.refresh_from_db()
    assert (waiting.status, waiting.last_error) == ("dead", EXPUNGED)
    assert is_problem(one.post(f"/deliveries/{waiting.pk}/retry"), 409, "not_retryable")
    assert producer.delete("/events/o-1").json() == answer.json()
    assert AuditEntry.objects.filter(action="event.expunge").count() == 1
    assert is_problem(one.delete("/events/o-1"), 403, "permission_denied")
    assert is_problem(producer.delete("/events/never"), 404, "not_found")
