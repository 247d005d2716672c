"""The admin pages of partners, against the real database."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from partners import services
from partners.admin.base import change_url, list_url
from partners.models import FOREVER, AuditEntry, Partner, Subscription
from tests.admin_pages import DIALOG, dialog_url, new_partner, new_subscription, viewer

pytestmark = pytest.mark.django_db


def test_a_partner_is_paused_until_somebody_resumes(admin_client: Client) -> None:
    partner = new_partner()

    answer = admin_client.post(dialog_url(partner, "pause"), {**DIALOG, "length": "", "until": ""})

    partner.refresh_from_db()
    assert partner.paused_until == FOREVER
    assert answer["HX-Redirect"] == change_url(partner)
    assert LogEntry.objects.get().change_message == "Paused until somebody resumes."


def test_a_partner_is_paused_for_an_hour(admin_client: Client) -> None:
    partner = new_partner()

    admin_client.post(dialog_url(partner, "pause"), {**DIALOG, "length": "3600", "until": ""})

    partner.refresh_from_db()
    assert partner.paused_until is not None
    assert abs(partner.paused_until - timezone.now() - timedelta(hours=1)) < timedelta(seconds=30)


def test_a_pause_until_a_past_time_is_refused(admin_client: Client) -> None:
    partner = new_partner()

    answer = admin_client.post(dialog_url(partner, "pause"), {**DIALOG, "length": "", "until": "2020-01-01T10:00"})

    partner.refresh_from_db()
    assert partner.paused_until is None
    assert b"This time is in the past." in answer.content


def test_resuming_ends_the_pause(admin_client: Client) -> None:
    partner = new_partner(paused_until=FOREVER)

    admin_client.post(dialog_url(partner, "resume"), DIALOG)

    partner.refresh_from_db()
    assert partner.paused_until is None


def test_only_the_action_that_changes_something_is_offered(admin_client: Client) -> None:
    active, paused = new_partner(), new_partner("Okendo", paused_until=FOREVER)

    on_active = admin_client.get(change_url(active)).content
    on_paused = admin_client.get(change_url(paused)).content

    assert (b"/pause/" in on_active, b"/resume/" in on_active) == (True, False)
    assert (b"/pause/" in on_paused, b"/resume/" in on_paused) == (False, True)


def test_partners_are_paused_and_resumed_in_bulk(admin_client: Client) -> None:
    partners = [new_partner(), new_partner("Okendo")]
    chosen = {"_selected_action": [partner.pk for partner in partners]}

    admin_client.post(list_url(Partner), {**chosen, "action": "pause_selected"})
    assert Partner.objects.filter(paused_until=FOREVER).count() == 2

    admin_client.post(list_url(Partner), {**chosen, "action": "resume_selected"})
    assert Partner.objects.filter(paused_until=None).count() == 2
    assert LogEntry.objects.count() == 4


def test_many_partners_are_paused_with_a_few_statements(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    chosen = {"_selected_action": [new_partner(f"Shop {number}").pk for number in range(40)]}

    with django_assert_max_num_queries(20):
        admin_client.post(list_url(Partner), {**chosen, "action": "pause_selected"})

    entries = AuditEntry.objects.filter(action="partner.pause")
    assert len({entry.partner_id for entry in entries}) == LogEntry.objects.count() == 40
    assert {(entry.before["paused_by"], entry.after["paused_by"]) for entry in entries} == {("", "staff")}


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_opening_a_dialog_changes_nothing(admin_client: Client, action: str) -> None:
    partner = new_partner(paused_until=FOREVER if action == "resume" else None)

    assert admin_client.get(dialog_url(partner, action)).status_code == 200

    before = partner.paused_until
    partner.refresh_from_db()
    assert partner.paused_until == before


def test_view_only_staff_cannot_act() -> None:
    subscription = new_subscription()
    client = viewer("view_partner", "view_subscription")

    for obj, action in [(subscription.partner, "pause"), (subscription, "disable"), (subscription, "rotate_secret")]:
        assert client.get(change_url(obj)).status_code == 200
        assert client.post(dialog_url(obj, action), DIALOG).status_code == 403
    assert Subscription.objects.get().is_enabled


def test_a_partner_is_found_by_name_and_by_id(admin_client: Client) -> None:
    partner, other = new_partner("Yotpo"), new_partner("Okendo")

    for term in ("yot", partner.pk[:30], partner.pk):
        found = admin_client.get(list_url(Partner, q=term)).content.decode()
        assert partner.name in found, term
    assert other.name not in admin_client.get(list_url(Partner, q="yot")).content.decode()


def test_paused_partners_are_filtered(admin_client: Client) -> None:
    new_partner("Yotpo", paused_until=timezone.now() + timedelta(hours=1))
    new_partner("Okendo", paused_until=timezone.now() - timedelta(hours=1))

    shown = admin_client.get(list_url(Partner, state="paused")).content.decode()

    assert "Yotpo" in shown
    assert "Okendo" not in shown


def test_a_partner_with_subscriptions_cannot_be_deleted(admin_client: Client) -> None:
    used, unused = new_subscription().partner, new_partner("Okendo")

    assert admin_client.post(f"{change_url(used).removesuffix('change/')}delete/", {"post": "yes"}).status_code == 403
    admin_client.post(f"{change_url(unused).removesuffix('change/')}delete/", {"post": "yes"})

    assert list(Partner.objects.all()) == [used]


def test_saving_a_partner_leaves_a_pause_made_meanwhile(admin_client: Client) -> None:
    partner = new_partner(rate_limit="5/s")
    form = {"name": partner.name, "rate_limit": "9/s", "rate_limit_ceiling": "", "max_in_flight": "16"}
    form |= {"operational_url": "", "operational_email": "", "notes": ""}
    services.pause_partner(Partner.objects.get())

    admin_client.post(change_url(partner), form)

    partner.refresh_from_db()
    assert (partner.rate_limit, partner.paused_until) == ("9/s", FOREVER)


def test_an_address_that_would_end_a_header_is_refused(admin_client: Client) -> None:
    partner = new_partner()
    form = {"name": partner.name, "rate_limit": "", "rate_limit_ceiling": "", "max_in_flight": "16"}
    form |= {"operational_url": "", "operational_email": '"\x0bBcc:a@example.com\x0bX:"@example.com', "notes": ""}

    assert "without quotes and control characters" in admin_client.post(change_url(partner), form).content.decode()
    assert Partner.objects.get().operational_email == ""


def test_a_name_that_turns_what_follows_it_around_is_refused(admin_client: Client) -> None:
    partner = new_partner()
    form = {"name": "Awesome \u202esweiveR", "rate_limit": "", "rate_limit_ceiling": "", "max_in_flight": "16"}
    form |= {"operational_url": "", "operational_email": "", "notes": ""}

    assert "U+202E changes the direction" in admin_client.post(change_url(partner), form).content.decode()
    assert Partner.objects.get().name == partner.name


def test_the_help_of_the_cap_is_about_places(admin_client: Client) -> None:
    assert b"holds at most this many of the workers' places" in admin_client.get(change_url(new_partner())).content
