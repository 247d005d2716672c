"""What all resources share: problems, bodies, pages, headers; and event types."""

import logging
from typing import Any

import orjson
import pytest
from django.db import OperationalError, connection

from partners.api.pages import make_cursor
from partners.api.profile import Profile
from partners.models import EventType
from tests.api_calls import call, caller, is_problem, subscription_of

pytestmark = pytest.mark.django_db

DEEP = b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"name": "x"} {}',
        b'{"name": "x", "name": "y"}',
        b'{"name": "\xff"}',
        b'\xef\xbb\xbf{"name": "x"}',
        b'{"name": "\\ud800"}',
        b'{"name": NaN}',
        b'{"name": 1e999}',
        DEEP,
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
    ids=lambda body: body[:20].hex(),
)
def test_what_is_not_good_json_is_refused(body: bytes) -> None:
    answer = caller().post("/keys", body)

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_a_body_that_is_too_long_is_not_read(settings: Any) -> None:
    settings.API_BODY_MAX_BYTES = 1024

    assert is_problem(caller().post("/keys", {"name": "x" * 2000}), 413, "too_large")


def test_only_publishing_takes_long_bodies() -> None:
    assert is_problem(caller().post("/keys", {"name": "x" * 1_048_576}), 413, "too_large")


def test_unknown_members_are_named_up_to_a_number_and_a_length() -> None:
    answer = caller().post("/keys", {"name": "x", **{f"{number:05}{'x' * 200}": 1 for number in range(4000)}})

    assert answer.status_code == 400
    errors = answer.json()["errors"]
    assert [one["pointer"][:7] for one in errors[:10]] == [f"#/{number:05}" for number in range(10)]
    assert errors[10:] == [{"pointer": "#", "detail": "3990 more are unknown"}]
    assert len(answer.content) < 3000


def test_a_body_without_its_length_is_refused() -> None:
    assert is_problem(caller().post("/keys", {"name": "x"}, transfer_encoding="chunked"), 411, "length_required")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "x"])
def test_only_json_is_taken(content_type: str) -> None:
    assert is_problem(caller().post("/keys", b"name=x", content_type=content_type), 415, "unsupported_media_type")


def test_an_unknown_address_is_a_problem_too() -> None:
    assert is_problem(call("GET", "/nothing/here"), 404, "not_found")
    assert is_problem(caller().get("/subscriptions/1"), 404, "not_found")
    assert is_problem(caller().get("/subscriptions/sub_" + "0" * 32), 404, "not_found")


def test_another_method_is_a_problem_that_says_which_there_are() -> None:
    answer = caller().call("PUT", "/partner", {})

    assert is_problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "GET, PATCH, HEAD, OPTIONS"


def test_an_internal_error_reveals_only_the_request_id(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def broken(self: Profile, request: Any) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(Profile, "get", broken)
    with caplog.at_level(logging.ERROR, "api.problem"):
        answer = caller().get("/partner", x_request_id="abc")

    assert is_problem(answer, 500, "internal")
    assert (answer.json()["request_id"], b"hunter2" in answer.content) == ("abc", False)
    assert [record.exc_info is not None for record in caplog.records if record.name == "api.problem"] == [True]


def test_an_unavailable_database_is_answered_with_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Profile, request: Any) -> None:
        raise OperationalError("connection refused by 10.0.0.7")

    monkeypatch.setattr(Profile, "get", away)
    answer = caller().get("/partner")

    assert is_problem(answer, 503, "unavailable")
    assert (answer["Retry-After"], b"10.0.0.7" in answer.content) == ("2", False)


def test_a_read_only_database_is_an_unavailable_one() -> None:
    partner = caller()
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    assert is_problem(partner.patch("/partner", {"rate_limit": "6/m"}), 503, "unavailable")


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-123", True), ("", False), ("x" * 65, False), ("a b", False), ("\u00e9", False)]
)
def test_a_request_id_is_the_callers_when_it_is_a_sane_one(given: str, kept: bool) -> None:
    answer = caller().get("/partner", x_request_id=given)

    assert (answer["X-Request-Id"] == given) is kept
    assert answer["X-Request-Id"]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "limit"),
        ("limit=251", "limit"),
        ("limit=many", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=%D9%A5", "limit"),
        ("limit=5%0A", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("lmit=5", "lmit"),
        ("cursor=%2B", "cursor"),
        ("cursor=" + "A" * 301, "cursor"),
        ("cursor=%00", "cursor cursor"),
        ("is_enabled=perhaps", "is_enabled"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(query: str, place: str) -> None:
    assert is_problem(caller().get(f"/subscriptions?{query}"), 400, "invalid", *place.split())


def test_a_cursor_that_no_page_gave_is_refused() -> None:
    assert is_problem(caller().get("/subscriptions?cursor=x"), 404, "invalid", "cursor")


def test_pages_do_not_shift_when_something_is_added() -> None:
    one = caller()
    first, second = (subscription_of(one.partner).pk for _ in range(2))
    page = one.get("/subscriptions?limit=1").json()
    subscription_of(one.partner)

    rest = one.get(f"/subscriptions?limit=5&cursor={page['next_cursor']}").json()

    assert [found["id"] for found in page["items"] + rest["items"]] == [second, first]


def test_a_cursor_leads_nowhere_else() -> None:
    other = subscription_of(caller(partner="Other").partner)
    one = caller()
    mine = subscription_of(one.partner)

    found = one.get(f"/subscriptions?cursor={make_cursor(other.pk + 'f')}").json()["items"]

    assert {item["id"] for item in found} <= {mine.pk}


def test_event_types_are_for_everybody_and_shown_as_staff_wrote_them() -> None:
    schema, sample = '{"type": "object", "required": ["id"]}', '{"z": 1.10, "a": 12345678901234567890}'
    EventType.objects.create(name="orders.created", description="placed", schema=schema, sample=sample)
    EventType.objects.create(name="carts.abandoned")
    EventType.objects.create(name="seen.once", is_catalogued=False)

    for scope in ("partner", "read_only", "producer"):
        answer = caller(scope).get("/event-types")
        assert [one["name"] for one in answer.json()["items"]] == ["carts.abandoned", "orders.created"]
        assert sample.encode() in answer.content
    one = caller()
    assert orjson.loads(one.get("/event-types/orders.created").content)["schema"] == orjson.loads(schema)
    assert [found["name"] for found in one.get("/event-types?category=orders").json()["items"]] == ["orders.created"]
    assert is_problem(one.get("/event-types/seen.once"), 404, "not_found")
    page = one.get("/event-types?limit=1").json()
    rest = one.get(f"/event-types?limit=1&cursor={page['next_cursor']}").json()
    assert [rest["items"][0]["name"], rest["next_cursor"]] == ["orders.created", None]


def test_answers_are_not_kept_by_caches_and_carry_a_policy() -> None:
    answer = caller().get("/partner")

    assert answer["Cache-Control"] == "no-store"
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
