"""Subscriptions: what was written is answered unchanged, and what is wrong is refused with its place."""

import re
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from drf_spectacular.generators import SchemaGenerator
from pytest_django import DjangoAssertNumQueries

from partners import services
from partners.api.subscription_shapes import EXAMPLE_INPUT
from partners.envelope import Envelope
from partners.exact_json import dumps, loads, members
from partners.mapping.call import TAKES
from partners.models import AuditEntry, Subscription, SubscriptionSecret
from partners.transform import compile_transformation
from partners.validation import MAX_HEADERS
from tests.api_calls import caller, is_problem, subscription_of

pytestmark = pytest.mark.django_db

SMALL: dict[str, Any] = {"url": "https://hooks.example.com/in", "event_types": ["orders.*"]}


def test_a_subscription_comes_back_as_it_was_written() -> None:
    one = caller()

    made = one.post("/subscriptions", EXAMPLE_INPUT)
    assert made.status_code == 201, made.content
    read = one.get(f"/subscriptions/{made.json()['id']}")

    assert read.content == made.content
    assert made["Location"] == f"/api/v1/subscriptions/{made.json()['id']}"
    assert made["ETag"] == read["ETag"]
    shown = EXAMPLE_INPUT.keys() - {"headers"}
    assert {name: made.json()[name] for name in shown} == {name: EXAMPLE_INPUT[name] for name in shown}
    assert made.json()["header_names"] == ["Authorization", "X-Tenant"]
    assert (made.json()["is_enabled"], made.json()["disabled_reason"]) == (True, "")


def test_a_transformation_keeps_its_key_order_and_its_numbers() -> None:
    one = caller()
    template = b'{"map": {"z": {"$value": 1.10}, "a": {"$value": 12345678901234567890123}, "m": {"$value": 1E5}}}'
    body = b'{"url": "https://hooks.example.com/in", "event_types": ["*"], "transformation": ' + template + b"}"

    made = one.post("/subscriptions", body)

    assert Subscription.objects.get().transformation == template.decode()
    assert template in made.content


def test_the_api_describes_every_function_and_its_example_makes_what_it_says() -> None:
    document: Any = cast("Any", SchemaGenerator)().get_schema(request=None, public=True)
    schemas = document["components"]["schemas"]
    described = schemas["NewSubscriptionInput"]["properties"]["transformation"]["description"]
    event, transformation, body = re.findall(r"```json\n(.*?)```", described, re.DOTALL)
    parts = members(event.encode())
    envelope = Envelope("evt_1", "orders.created", "2026-05-01T12:00:00.000000Z", parts["data"])

    made = compile_transformation(transformation).apply(envelope)

    assert made == dumps(loads(body.encode()))
    assert set(TAKES) <= set(re.findall(r"`(\$\w+)`", described))
    assert schemas["PreviewInput"]["properties"]["transformation"]["description"] == described


def test_the_smallest_subscription_has_defaults() -> None:
    body = caller().post("/subscriptions", SMALL).json()

    assert (body["filter"], body["transformation"], body["header_names"]) == ("", None, [])
    assert (body["retry_schedule_s"], body["timeout_s"], body["description"]) == (None, 15, "")


def test_the_timeout_is_that_of_the_settings_unless_one_is_given(settings: Any) -> None:
    settings.DELIVERY_TIMEOUT_S = 7.5
    one = caller()

    made = [one.post("/subscriptions", {**SMALL, **given}).json() for given in ({}, {"timeout_s": 3})]

    assert [body["timeout_s"] for body in made] == [7.5, 3]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"url": None}, "#/url"),
        ({"url": 5}, "#/url"),
        ({"url": "http://169.254.169.254/latest"}, "#/url"),
        ({"url": "https://localhost/"}, "#/url"),
        ({"url": "ftp://example.com/"}, "#/url"),
        ({"url": "https://exa\u00admple.com/"}, "#/url"),
        ({"url": "https://x.com/" + "a" * 2048}, "#/url"),
        ({"event_types": []}, "#/event_types"),
        ({"event_types": "orders.*"}, "#/event_types"),
        ({"event_types": ["orders*"]}, "#/event_types/0"),
        ({"event_types": ["ok", ""]}, "#/event_types/1"),
        ({"event_types": ["ok", 5]}, "#/event_types/1"),
        ({"event_types": ["x"] * 101}, "#/event_types"),
        ({"filter": "$.data["}, "#/filter"),
        ({"filter": {}}, "#/filter"),
        ({"transformation": {"omit": "no list"}}, "#/transformation/omit"),
        ({"transformation": {"map": {"a": "$.data["}}}, "#/transformation/map/a"),
        ({"transformation": {"unheard_of": 1}}, "#/transformation/unheard_of"),
        ({"transformation": "text"}, "#/transformation"),
        ({"headers": {"X": "a\r\nEvil: 1"}}, "#/headers/X"),
        ({"headers": {"Host": "x"}}, "#/headers/Host"),
        ({"headers": {"webhook-signature": "v1,x"}}, "#/headers/webhook-signature"),
        ({"headers": {"a/ b": "x"}}, "#/headers/a~1 b"),
        ({"headers": {"X": 1}}, "#/headers/X"),
        ({"headers": []}, "#/headers"),
        ({"retry_schedule_s": []}, "#/retry_schedule_s"),
        ({"retry_schedule_s": [0.5]}, "#/retry_schedule_s/0"),
        ({"retry_schedule_s": [90000]}, "#/retry_schedule_s/0"),
        ({"retry_schedule_s": [True]}, "#/retry_schedule_s/0"),
        ({"retry_schedule_s": [5] * 31}, "#/retry_schedule_s"),
        ({"timeout_s": 31}, "#/timeout_s"),
        ({"timeout_s": "5"}, "#/timeout_s"),
        ({"description": "x" * 501}, "#/description"),
        ({"description": "\0"}, "#/description"),
        ({"description": "a\u202etluafed"}, "#/description"),
        ({"is_enabled": "no"}, "#/is_enabled"),
        ({"is_enabled": None}, "#/is_enabled"),
        ({"partner_id": "ptr_1"}, "#/partner_id"),
        ({"id": "sub_1"}, "#/id"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place_and_nothing_is_stored(change: dict[str, Any], place: str) -> None:
    one = caller()

    assert is_problem(one.post("/subscriptions", {**SMALL, **change}), 400, "invalid", place)

    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retry_schedule_s", ["a"] * 50_000),
        ("event_types", [5] * 50_000),
        ("headers", {f"h{number}": 5 for number in range(50_000)}),
    ],
)
def test_too_many_elements_are_one_error(name: str, value: Any) -> None:
    assert is_problem(caller().post("/subscriptions", {**SMALL, name: value}), 400, "invalid", f"#/{name}")


def test_as_many_headers_as_are_allowed_are_taken() -> None:
    headers = {f"X-{number}": "a" for number in range(MAX_HEADERS)}

    assert caller().post("/subscriptions", {**SMALL, "headers": headers}).status_code == 201


def test_the_number_of_errors_in_an_answer_is_limited() -> None:
    errors = caller().post("/subscriptions", {**SMALL, "retry_schedule_s": ["a"] * 30}).json()["errors"]

    assert [one["pointer"] for one in errors[:20]] == [f"#/retry_schedule_s/{number}" for number in range(20)]
    assert errors[20:] == [{"pointer": "#", "detail": "10 more are wrong"}]


def test_only_what_is_given_is_changed() -> None:
    one = caller()
    made = one.post("/subscriptions", EXAMPLE_INPUT).json()

    changed = one.patch(f"/subscriptions/{made['id']}", {"filter": "", "transformation": None, "timeout_s": 5}).json()

    expected = {**made, "filter": "", "transformation": None, "timeout_s": 5, "updated_at": changed["updated_at"]}
    assert changed == expected
    entry = AuditEntry.objects.get(action="subscription.update")
    assert entry.before.keys() == entry.after.keys() == {"filter", "transformation", "timeout_s"}
    assert (entry.before["timeout_s"], entry.after["timeout_s"]) == (10, 5)


def test_an_update_with_the_values_that_it_has_changes_nothing() -> None:
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner, headers={'X-Tenant': 'blue'}).pk}"
    before = one.get(path)

    same = {name: before.json()[name] for name in ("url", "event_types", "filter", "timeout_s")}
    after = one.patch(path, {**same, "headers": {"X-Tenant": "blue"}})

    assert (after.json(), after["ETag"]) == (before.json(), before["ETag"])
    assert not AuditEntry.objects.filter(action="subscription.update").exists()
    assert one.patch(path, {"headers": {"X-Tenant": "red"}})["ETag"] != before["ETag"]
    assert AuditEntry.objects.filter(action="subscription.update").count() == 1


@pytest.mark.parametrize("tag", ["", "abc", '"a", b', '"a" "b"'])
def test_an_if_match_that_is_no_entity_tag_is_refused_as_such(tag: str) -> None:
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner).pk}"
    assert is_problem(one.patch(path, {"timeout_s": 6}, if_match=tag), 400, "invalid", "If-Match")


def test_an_update_of_a_state_that_is_gone_changes_nothing() -> None:
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner).pk}"
    seen = one.get(path)["ETag"]
    assert one.patch(path, {"timeout_s": 5}, if_match=seen).status_code == 200

    assert is_problem(one.patch(path, {"timeout_s": 6}, if_match=seen), 412, "changed_meanwhile")
    assert is_problem(one.delete(path, if_match=seen), 412, "changed_meanwhile")

    assert Subscription.objects.get().timeout_s == 5


def test_a_deleted_subscription_is_gone_for_its_partner() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    path = f"/subscriptions/{subscription.pk}"

    assert one.delete(path).status_code == 204

    for method, below in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/enable"), ("GET", "/secrets")):
        assert is_problem(one.call(method, path + below), 404, "not_found")
    assert one.get("/subscriptions").json()["items"] == []
    assert not SubscriptionSecret.objects.exists()
    assert Subscription.objects.get().deleted_at is not None


def test_of_the_operational_subscription_what_the_profile_decides_cannot_be_changed() -> None:
    one = caller()
    profile = one.patch("/partner", {"operational_url": "https://ops.example.com/a"}).json()
    path = f"/subscriptions/{profile['operational_subscription_id']}"

    for change in ({"url": "https://ops.example.com/b"}, {"event_types": ["orders.*"]}, {"filter": "$.data"}):
        assert is_problem(one.patch(path, change), 409, "operational")
    changed = one.patch(path, {"url": "https://ops.example.com/a", "headers": {"X-Ops": "1"}, "timeout_s": 5})

    assert (changed.status_code, changed.json()["header_names"]) == (200, ["X-Ops"])
    assert Subscription.objects.get().event_types == ["*"]


def test_disabling_and_enabling() -> None:
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner).pk}"

    off = one.post(f"{path}/disable").json()
    assert (off["is_enabled"], off["disabled_reason"]) == (False, "partner")
    assert [found["id"] for found in one.get("/subscriptions?is_enabled=false").json()["items"]] == [off["id"]]
    assert one.get("/subscriptions?is_enabled=true").json()["items"] == []
    on = one.post(f"{path}/enable").json()

    assert (on["is_enabled"], on["disabled_at"], on["disabled_reason"]) == (True, None, "")


def test_a_subscription_may_be_made_disabled_and_enabled_later() -> None:
    one = caller()

    made = one.post("/subscriptions", {**SMALL, "is_enabled": False}).json()
    path = f"/subscriptions/{made['id']}"

    assert (made["is_enabled"], made["disabled_reason"], made["disabled_at"] is None) == (False, "partner", False)
    assert is_problem(one.patch(path, {"is_enabled": True}), 400, "invalid", "#/is_enabled")
    assert one.post(f"{path}/enable").json()["is_enabled"]
    assert one.post("/subscriptions", {**SMALL, "is_enabled": True}).json()["is_enabled"]


def test_a_subscription_made_disabled_has_to_be_verified_nevertheless(settings: Any) -> None:
    settings.ENDPOINT_PROOF = True
    one = caller()

    made = one.post("/subscriptions", {**SMALL, "is_enabled": False}).json()

    assert made["disabled_reason"] == "unverified"
    assert is_problem(one.post(f"/subscriptions/{made['id']}/enable"), 409, "unverified")


def test_only_staff_enable_what_staff_disabled() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    services.disable_subscription(subscription, Subscription.DisabledReason.STAFF)

    assert is_problem(one.post(f"/subscriptions/{subscription.pk}/enable"), 409, "disabled_by_staff")
    one.post(f"/subscriptions/{subscription.pk}/disable")
    assert is_problem(one.post(f"/subscriptions/{subscription.pk}/enable"), 409, "disabled_by_staff")

    assert not Subscription.objects.get().is_enabled


def test_there_is_a_limit_to_subscriptions(settings: Any) -> None:
    settings.SUBSCRIPTIONS_MAX = 1
    one = caller()
    assert one.post("/subscriptions", SMALL).status_code == 201

    assert is_problem(one.post("/subscriptions", SMALL), 409, "too_many")


def test_read_only_keys_see_no_secrets() -> None:
    subscription = subscription_of(caller().partner)

    answer = caller("read_only").get(f"/subscriptions/{subscription.pk}/secrets")

    assert is_problem(answer, 403, "permission_denied")


def test_values_of_headers_are_written_and_never_read() -> None:
    one = caller()
    made = one.post("/subscriptions", {**SMALL, "headers": {"X-Tenant": "blue", "Authorization": "Bearer of-theirs"}})
    path = f"/subscriptions/{made.json()['id']}"

    one.patch(path, {"timeout_s": 5})
    kept = dict(Subscription.objects.get().headers)
    changed = one.patch(path, {"headers": {"Authorization": "Bearer new"}})

    assert made.json()["header_names"] == ["Authorization", "X-Tenant"]
    assert kept == {"Authorization": "Bearer of-theirs", "X-Tenant": "blue"}
    assert changed.json()["header_names"] == ["Authorization"]
    assert Subscription.objects.get().headers == {"Authorization": "Bearer new"}
    for answer in (made, changed, one.get(path), one.get("/subscriptions")):
        assert b"Bearer" not in answer.content


def test_headers_are_stored_encrypted_and_go_with_the_subscription() -> None:
    one = caller()
    subscription = subscription_of(one.partner, headers={"Authorization": "Bearer of-theirs"})
    stored = "SELECT headers::text FROM partners_subscription"
    with connection.cursor() as cursor:
        before = cursor.execute(stored).fetchone()[0]
        one.delete(f"/subscriptions/{subscription.pk}")
        after = cursor.execute(stored).fetchone()[0]

    assert "Authorization" in before
    assert "of-theirs" not in before
    assert after == "{}"


def test_header_values_are_not_in_the_audit_log() -> None:
    one = caller()
    made = one.post("/subscriptions", {**SMALL, "headers": {"Authorization": "Bearer of-theirs"}}).json()
    one.patch(f"/subscriptions/{made['id']}", {"headers": {"Authorization": "Bearer other-secret"}})

    entry = AuditEntry.objects.get(action="subscription.update")
    assert entry.before == entry.after == {"headers": {"Authorization": "(hidden)"}}
    assert b"of-theirs" not in one.get("/audit-log").content


def test_a_page_costs_the_same_whatever_its_length(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    one = caller()
    for number in range(12):
        subscription_of(one.partner, description=str(number))
    one.get("/subscriptions")

    with django_assert_num_queries(4):  # set the time limit, find the key, read the page, reset the time limit
        body = one.get("/subscriptions?limit=10").json()
    assert [found["description"] for found in body["items"]] == [str(11 - number) for number in range(10)]
    with django_assert_num_queries(4):
        rest = one.get(f"/subscriptions?limit=10&cursor={body['next_cursor']}").json()

    assert [found["description"] for found in rest["items"]] == ["1", "0"]
    assert rest["next_cursor"] is None


def test_the_audit_log_records_that_a_partner_reveals_secrets() -> None:
    one = caller()
    subscription = subscription_of(one.partner)

    answer = one.get(f"/subscriptions/{subscription.pk}/secrets")

    (shown,) = answer.json()["items"]
    assert shown["secret"].startswith("whsec_")
    assert shown["expires_at"] is None
    assert answer["Cache-Control"] == "no-store"
    entry = AuditEntry.objects.get(action="subscription.reveal_secrets")
    assert (entry.actor_id, entry.before, entry.after) == (one.key.pk, {}, {})


def test_a_rotation_keeps_the_former_secret_for_a_while() -> None:
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner).pk}/secrets"
    (old,) = one.get(path).json()["items"]

    new, former = one.post(f"{path}/rotate", {"overlap_s": 60}).json()["items"]

    assert former["secret"] == old["secret"] != new["secret"]
    assert (new["expires_at"], former["expires_at"] is None) == (None, False)
    (only,) = one.post(f"{path}/rotate", {"overlap_s": 0}).json()["items"]
    assert only["secret"] not in {old["secret"], new["secret"]}


def test_headers_and_secrets_whose_key_is_lost_can_be_replaced(settings: Any) -> None:
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner, headers={'Authorization': 'Bearer old'}).pk}"
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    assert one.patch(path, {"headers": {"Authorization": "Bearer new"}}).status_code == 200
    (lost,) = one.get(f"{path}/secrets").json()["items"]
    (new,) = one.post(f"{path}/secrets/rotate").json()["items"]

    assert Subscription.objects.get().headers == {"Authorization": "Bearer new"}
    assert lost["secret"] is None
    assert new["secret"].startswith("whsec_")


@pytest.mark.parametrize("overlap", [-1, 604801, "60", True, None])
def test_the_overlap_is_limited(overlap: object) -> None:
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner).pk}/secrets/rotate"

    assert is_problem(one.post(path, {"overlap_s": overlap}), 400, "invalid", "#/overlap_s")
    assert SubscriptionSecret.objects.count() == 1
