"""API keys: creating, showing once, listing, revoking, and what they may be used for."""

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from partners import keys
from partners.models import ApiKey, AuditEntry
from tests.api_calls import call, caller, is_problem, partner_named

pytestmark = pytest.mark.django_db


def test_a_token_is_stored_as_its_hash_only() -> None:
    new = keys.create_key("server", partner=partner_named("Yotpo"))

    assert new.token.startswith("rk_")
    assert len(new.token) == 46
    assert new.key.token_hash == hashlib.sha256(new.token.encode()).hexdigest()
    with connection.cursor() as cursor:
        for table in ("partners_apikey", "partners_auditentry"):
            cursor.execute(f"SELECT t::text FROM {table} t")
            assert all(new.token not in row[0] for row in cursor.fetchall())
    assert new.token not in repr(new)


def test_a_key_is_found_by_its_token_alone() -> None:
    new = keys.create_key("server", partner=partner_named("Yotpo"))

    assert keys.find_key(new.token) == new.key
    assert keys.find_key(new.token[:-1]) is None
    assert keys.find_key(new.key.token_hash) is None
    assert keys.find_key("") is None


def test_an_expired_key_is_refused() -> None:
    new = caller()
    ApiKey.objects.filter(pk=new.key.pk).update(expires_at=timezone.now())

    assert is_problem(new.get("/partner"), 401, "authentication_failed")


def test_a_revoked_key_is_refused() -> None:
    new = caller()

    assert keys.revoke_key(new.key)
    assert not keys.revoke_key(new.key)

    assert is_problem(new.get("/partner"), 401, "authentication_failed")


def test_a_key_that_has_expired_already_is_not_created() -> None:
    with pytest.raises(ValidationError, match="in the past"):
        keys.create_key("server", partner=partner_named("Yotpo"), expires_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize(("scope", "has_partner"), [("producer", True), ("partner", False), ("read_only", False)])
def test_producers_keys_belong_to_nobody_and_all_others_to_a_partner(scope: str, has_partner: bool) -> None:
    with pytest.raises(ValidationError):
        keys.create_key("server", scope, partner_named("Yotpo") if has_partner else None)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.create(name="x", scope=scope, partner=partner_named("Yotpo") if has_partner else None)


def test_the_number_of_a_partners_keys_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_LIVE_KEYS", 2)
    one = caller()
    assert one.post("/keys", {"name": "second"}).status_code == 201

    assert is_problem(one.post("/keys", {"name": "third"}), 409, "too_many")

    ended = ApiKey.objects.exclude(pk=one.key.pk)
    for end in ("revoked_at", "expires_at"):
        ended.update(**{end: timezone.now()})
        assert one.post("/keys", {"name": f"after {end}"}).status_code == 201


def test_last_use_is_noted_once_a_minute() -> None:
    one = caller()
    one.get("/partner")
    first = ApiKey.objects.get(pk=one.key.pk).last_used_at
    assert first is not None
    one.get("/partner")
    assert ApiKey.objects.get(pk=one.key.pk).last_used_at == first

    earlier = first - timedelta(seconds=61)
    ApiKey.objects.filter(pk=one.key.pk).update(last_used_at=earlier)
    one.get("/partner")

    later = ApiKey.objects.get(pk=one.key.pk).last_used_at
    assert later is not None
    assert later >= first


def test_a_partner_rotates_its_keys_without_a_gap() -> None:
    old = caller()

    made = old.post("/keys", {"name": "next"})
    assert made.status_code == 201
    new = {"authorization": f"Bearer {made.json()['token']}"}
    assert made["Location"] == f"/api/v1/keys/{made.json()['id']}"
    assert call("GET", "/partner", **new).status_code == 200
    revoked = call("DELETE", f"/keys/{old.key.pk}", **new)

    assert (revoked.status_code, revoked.content) == (204, b"")
    assert old.get("/partner").status_code == 401
    listed = call("GET", "/keys", **new).json()["items"]
    assert [one["name"] for one in listed] == ["next"]
    assert "token" not in listed[0]


def test_a_key_cannot_revoke_itself() -> None:
    one = caller()

    assert is_problem(one.delete(f"/keys/{one.key.pk}"), 409, "key_in_use")
    assert one.get("/partner").status_code == 200


def test_a_wrong_choice_is_told_what_the_choices_are() -> None:
    (wrong,) = caller().post("/keys", {"name": "x", "scope": "producer"}).json()["errors"]
    assert wrong["detail"] == "expected one of partner, read_only"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"name": 7}, "#/name"),
        ({"name": "x" * 101}, "#/name"),
        ({"name": "nul \0"}, "#/name"),
        ({"name": "x", "scope": "producer"}, "#/scope"),
        ({"name": "x", "scope": True}, "#/scope"),
        ({"name": "x", "expires_at": "2026-01-01"}, "#/expires_at"),
        ({"name": "x", "expires_at": "2999-01-01T00:00:00"}, "#/expires_at"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at"),
        ({"name": "x", "partner": "ptr_1"}, "#/partner"),
    ],
)
def test_errors_of_a_new_key_have_their_places(body: dict[str, object], place: str) -> None:
    one = caller()
    before = ApiKey.objects.count()

    assert is_problem(one.post("/keys", body), 400, "invalid", place)
    assert ApiKey.objects.count() == before


def test_staff_are_not_named_to_partners() -> None:
    one = caller()
    ApiKey.objects.filter(pk=one.key.pk).update(created_by="staff anna")

    assert one.get(f"/keys/{one.key.pk}").json()["created_by"] == "staff"


NO_KEYS = ["", "Bearer", "Bearer ", "Bearer rk_x", "Bearer \xff", "Token rk_x", "Basic !!", "Basic eDp5"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("header", NO_KEYS)
def test_without_a_valid_key_every_request_is_refused(method: str, header: str) -> None:
    answer = call(method, "/keys", {} if method == "POST" else None, authorization=header)

    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
    assert is_problem(answer, 401, answer.json()["code"])


def test_a_browser_may_look_around_with_the_key_as_password_but_change_nothing() -> None:
    one = caller()
    basic = "Basic " + base64.b64encode(f"key:{one.token}".encode()).decode()

    page = call("GET", "/partner", authorization=basic, accept="text/html")
    assert page.status_code == 200
    assert b"Yotpo" in page.content
    assert page["Content-Type"].startswith("text/html")
    assert call("POST", "/partner/pause", {}, authorization=basic).status_code == 401

    asked = call("GET", "/partner", accept="text/html")
    assert asked["WWW-Authenticate"].startswith("Basic ")


def test_making_and_revoking_are_in_the_audit_log() -> None:
    one = caller()
    made: Any = one.post("/keys", {"name": "next"}).json()
    one.delete(f"/keys/{made['id']}")

    entries = AuditEntry.objects.filter(subject_id=made["id"]).order_by("id")
    assert [entry.action for entry in entries] == ["api_key.create", "api_key.revoke"]
    assert {entry.actor_id for entry in entries} == {one.key.pk}
    assert entries[0].after["name"] == "next"
    assert "token_hash" not in entries[0].after
