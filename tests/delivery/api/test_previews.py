"""Previews: the result of a filter and a transformation for an event, or their errors."""

from typing import Any

import pytest

from partners.api import costly
from partners.models import EventType
from tests.api_calls import caller, is_problem, subscription_of
from tests.rows import new_delivery, new_event

pytestmark = pytest.mark.django_db


def test_a_preview_shows_the_exact_body() -> None:
    event = b'{"type": "orders.created", "data": {"id": 12345678901234567890, "total": 1.10}}'
    body = b'{"filter": "$.data[?(@.total > 1)]", "transformation": {"map": {"o": "$.data.id", "t": "$.data.total"}}'

    answer = caller("read_only").post("/preview", body + b', "event": ' + event + b"}")

    assert answer.content == b'{"wanted":true,"body":{"o":12345678901234567890,"t":1.10},"problems":[],"hints":[]}'


def test_a_preview_says_what_is_wrong_and_where() -> None:
    body = {"filter": "$.data[", "transformation": {"map": {"a": "$.x["}}, "event": {"type": "a", "data": {}}}

    made = caller().post("/preview", body).json()

    assert (made["wanted"], made["body"]) == (None, None)
    assert [(one["where"], one["path"]) for one in made["problems"]] == [("filter", ""), ("transformation", "/map/a")]


def test_a_preview_hints_at_a_path_that_finds_nothing() -> None:
    body = {"transformation": {"map": {"order": "$.data.idd"}}, "event": {"type": "orders.created", "data": {"id": 1}}}

    made = caller().post("/preview", body).json()

    assert (made["wanted"], made["body"], made["problems"]) == (True, {}, [])
    message = "$.data.idd finds nothing in this event, so that order is left out"
    assert made["hints"] == [{"where": "transformation", "path": "/map/order", "message": message}]


def test_a_preview_of_a_subscription_on_an_event_of_ours() -> None:
    EventType.objects.create(name="orders.created", sample='{"n": 1}')
    one = caller()
    subscription = subscription_of(one.partner, transformation='{"map": {"n": "$.data.n"}}')
    new_delivery(subscription, new_event(id="o/1", data='{"n": 2.0}'))

    by_sample = {"subscription_id": subscription.pk, "event_type": "orders.created"}
    assert one.post("/preview", by_sample).json()["body"] == {"n": 1}
    by_event = {"subscription_id": subscription.pk, "event_id": "o/1"}
    assert b'"body":{"n":2.0}' in one.post("/preview", by_event).content
    assert one.post("/preview", {**by_event, "transformation": {"map": {"m": "$.type"}}}).json()["body"] == {
        "m": "orders.created"
    }
    other = caller(partner="Other")
    assert is_problem(other.post("/preview", {"event_id": "o/1"}), 404, "not_found")
    assert is_problem(other.post("/preview", by_sample), 404, "not_found")


def test_a_preview_of_a_subscription_asks_its_event_types_too() -> None:
    one = caller()
    subscription = subscription_of(one.partner, event_types=["orders.*"], filter="$.data.n")

    def made(type_: str, **changes: str) -> tuple[object, int]:
        draft = {"subscription_id": subscription.pk, "event": {"type": type_, "data": {"n": 1}}, **changes}
        answer = one.post("/preview", draft).json()
        return answer["wanted"], len(answer["hints"])

    assert (made("orders.created"), made("carts.abandoned")) == ((True, 0), (False, 1))
    assert made("carts.abandoned", filter="$.data[") == (False, 1)


def test_a_preview_hints_at_event_types_that_nobody_knows() -> None:
    EventType.objects.create(name="orders.created", sample="{}")
    one = caller()
    subscription = subscription_of(one.partner, event_types=["orders.*", "ordres.created"])
    sentence = "No event type is known that {} matches. Did you mean orders.created?"

    made = one.post("/preview", {"subscription_id": subscription.pk, "event_type": "orders.created"}).json()
    hint = {"where": "event_types", "path": "", "message": sentence.format("ordres.created")}
    assert (made["wanted"], made["hints"]) == (True, [hint])
    made = one.post("/preview", {"event": {"type": "orders.creatd", "data": {}}}).json()
    assert [hint["message"] for hint in made["hints"]] == [sentence.format("orders.creatd")]
    (error,) = one.post("/preview", {"event_type": "orders.creatd"}).json()["errors"]
    assert error["detail"] == f"no such event type with a sample. {sentence.format('orders.creatd')}"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (None, "#"),
        ({}, "#"),
        ({"event": {"type": "a", "data": 1}, "event_id": "x"}, "#"),
        ({"event_type": "never.heard"}, "#/event_type"),
        ({"event": {"data": 1}}, "#/event/type"),
        ({"event": {"type": "a"}}, "#/event/data"),
        ({"event": {"type": "a", "data": 1, "id": "caf\u00e9"}}, "#/event/id"),
        ({"event": []}, "#/event"),
        ({"event": {"type": "a", "data": "\0"}}, "#/event/data"),
        ({"filter": 5, "event": {"type": "a", "data": 1}}, "#/filter"),
    ],
)
def test_a_preview_of_nothing_is_refused(body: dict[str, Any] | None, place: str) -> None:
    assert is_problem(caller().post("/preview", body), 400, "invalid", place)


def test_a_partner_has_one_preview_at_a_time_and_others_have_theirs() -> None:
    one, other = caller(), caller(partner="Okendo")
    body = {"transformation": {"map": "$.data"}, "event": {"type": "orders.created", "data": {}}}

    with costly.previews.taken(one.partner.pk):
        refused = one.post("/preview", body)
        assert is_problem(refused, 429, "busy")
        assert refused["Retry-After"] == "2"
        assert other.post("/preview", body).status_code == 200
    assert one.post("/preview", body).status_code == 200
