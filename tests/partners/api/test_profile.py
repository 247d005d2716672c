"""A partner's own profile: its rate limit below the ceiling, pausing, and what only staff decide."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from partners import services
from partners.models import FOREVER, AuditEntry, Partner
from tests.api_calls import caller, is_problem

pytestmark = pytest.mark.django_db


def test_the_profile_shows_what_is_the_partners_and_no_notes_of_staff() -> None:
    one = caller()
    services.update_partner(one.partner, {"notes": "difficult", "rate_limit_ceiling": "100/s"})

    body = one.get("/partner").json()

    assert (body["id"], body["name"], body["rate_limit_ceiling"]) == (one.partner.pk, "Yotpo", "100/s")
    assert "notes" not in body
    assert "difficult" not in one.get("/audit-log").content.decode()


def test_a_partner_sets_its_rate_limit_up_to_the_ceiling() -> None:
    one = caller()
    services.update_partner(one.partner, {"rate_limit_ceiling": "100/s"})

    assert one.patch("/partner", {"rate_limit": "6000/m"}).json()["rate_limit"] == "6000/m"
    assert is_problem(one.patch("/partner", {"rate_limit": "101/s"}), 400, "invalid", "#/rate_limit")
    assert is_problem(one.patch("/partner", {"rate_limit": "6001/m"}), 400, "invalid", "#/rate_limit")

    assert Partner.objects.get(pk=one.partner.pk).rate_limit == "6000/m"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"rate_limit": "fast"}, "#/rate_limit"),
        ({"rate_limit": "0/s"}, "#/rate_limit"),
        ({"rate_limit": "5/s\n"}, "#/rate_limit"),
        ({"rate_limit": None}, "#/rate_limit"),
        ({"rate_limit_ceiling": "1000/s"}, "#/rate_limit_ceiling"),
        ({"max_in_flight": 1000}, "#/max_in_flight"),
        ({"name": "Somebody else"}, "#/name"),
        ({"operational_url": "http://127.0.0.1/"}, "#/operational_url"),
        ({"operational_email": "nobody"}, "#/operational_email"),
        ({"operational_email": '"\x0bBcc:victim@example.com\x0bX:"@example.com'}, "#/operational_email"),
        ({"operational_email": '"a,b"@example.com'}, "#/operational_email"),
        ([], "#"),
        ("text", "#"),
    ],
)
def test_what_a_partner_may_not_set_is_refused_with_its_place(body: object, place: str) -> None:
    one = caller()

    assert is_problem(one.patch("/partner", body), 400, "invalid", place)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"rate_limit": "5"}, "such as 50/s, 600/m or 1000/h"),
        ({"max_in_flight": 1000}, "read-only"),
        ({"max_inflight": 1000}, "unknown"),
    ],
)
def test_a_refusal_says_what_to_write_instead(body: object, says: str) -> None:
    (place,) = caller().patch("/partner", body).json()["errors"]

    assert place["detail"].endswith(says)


def test_a_partner_pauses_and_resumes_itself() -> None:
    one = caller()
    until = (timezone.now() + timedelta(hours=1)).replace(microsecond=0)

    paused = one.post("/partner/pause", {"until": until.isoformat()}).json()
    assert (paused["is_paused"], paused["paused_by"]) == (True, "partner")
    assert datetime.fromisoformat(paused["paused_until"]) == until
    endless = one.post("/partner/pause").json()
    assert (endless["is_paused"], endless["paused_until"]) == (True, None)
    assert Partner.objects.get(pk=one.partner.pk).paused_until == FOREVER
    resumed = one.post("/partner/resume").json()

    assert (resumed["is_paused"], resumed["paused_until"], resumed["paused_by"]) == (False, None, "")


@pytest.mark.parametrize(
    "until", ["2020-01-01T00:00:00Z", "tomorrow", 5, "2999-13-01T00:00:00Z", "0001-01-01T00:00:00+23:00"]
)
def test_a_pause_ends_in_the_future(until: object) -> None:
    assert is_problem(caller().post("/partner/pause", {"until": until}), 400, "invalid", "#/until")


def test_only_staff_end_a_pause_by_staff() -> None:
    one = caller()
    services.pause_partner(one.partner)

    assert is_problem(one.post("/partner/resume"), 409, "paused_by_staff")
    assert is_problem(one.post("/partner/pause", {"until": "2999-01-01T00:00:00Z"}), 409, "paused_by_staff")
    assert Partner.objects.get(pk=one.partner.pk).is_paused


def test_an_update_over_somebody_elses_is_refused() -> None:
    one = caller()
    seen = one.get("/partner")["ETag"]
    assert one.patch("/partner", {"rate_limit": "7/s"}, if_match=seen).status_code == 200

    assert is_problem(one.patch("/partner", {"rate_limit": "8/s"}, if_match=seen), 412, "changed_meanwhile")
    for other in ('"x", "y"', 'W/"c", "2,Y", "C"', '"x",, "y" ,'):
        assert is_problem(one.patch("/partner", {"rate_limit": "8/s"}, if_match=other), 412, "changed_meanwhile")

    assert Partner.objects.get(pk=one.partner.pk).rate_limit == "7/s"
    assert one.patch("/partner", {"rate_limit": "8/s"}, if_match="*").status_code == 200


def test_a_state_that_the_client_has_is_not_sent_again() -> None:
    one = caller()
    first = one.get("/partner")

    again = one.get("/partner", if_none_match=first["ETag"])

    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert one.get("/partner", if_none_match='"other"').status_code == 200
    assert one.get("/partner", if_none_match=f'"other", W/{first["ETag"]}').status_code == 304
    assert one.get("/partner", if_none_match="no*tag").status_code == 200


def test_the_audit_log_says_who_made_a_change() -> None:
    one = caller()
    answer = one.patch("/partner", {"rate_limit": "7/s"}, x_request_id="order-66")

    entry = AuditEntry.objects.get(action="partner.update")

    assert answer["X-Request-Id"] == "order-66"
    assert (entry.actor_kind, entry.actor_id, entry.request_id) == ("key", one.key.pk, "order-66")
    assert (entry.before, entry.after) == ({"rate_limit": ""}, {"rate_limit": "7/s"})
    shown = one.get("/audit-log").json()["items"][0]
    assert (shown["actor_name"], shown["after"]) == (one.key.name, {"rate_limit": "7/s"})
    assert datetime.fromisoformat(shown["at"]).tzinfo == UTC


def test_the_audit_log_has_no_refused_change() -> None:
    one = caller()
    one.patch("/partner", {"rate_limit": "fast"})

    assert not AuditEntry.objects.filter(action="partner.update").exists()
