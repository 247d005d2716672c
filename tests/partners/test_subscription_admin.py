"""The admin pages of subscriptions, against the real database."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.test import Client

from partners import services
from partners.admin.base import change_url, list_url
from partners.models import AuditEntry, EventType, Subscription
from tests.admin_pages import DIALOG, SECRET, dialog_url, new_partner, new_subscription

pytestmark = pytest.mark.django_db


def subscription_form(**changes: str) -> dict[str, str]:
    form = {"description": "", "url": "https://hooks.example.com/recart", "event_types": "orders.*", "filter": ""}
    return {**form, "transformation": "", "headers": "", "retry_schedule_s": "", "timeout_s": "15", **changes}


def test_a_subscription_is_written_in_words_and_lines(admin_client: Client) -> None:
    partner = new_partner()

    admin_client.post(
        f"{list_url(Subscription)}add/",
        subscription_form(
            partner=partner.pk,
            event_types="orders.created, carts.*\nmessages.clicked",
            headers="X-Shop: 42\nX-Note: a: b",
            retry_schedule_s="5, 30s, 5m, 2h",
        ),
    )

    subscription = Subscription.objects.get()
    assert subscription.event_types == ["orders.created", "carts.*", "messages.clicked"]
    assert subscription.headers == {"X-Shop": "42", "X-Note": "a: b"}
    assert subscription.retry_schedule_s == [5, 30, 300, 7200]
    assert len(services.reveal_secrets(subscription)) == 1


@pytest.mark.parametrize(
    ("field", "written", "told"),
    [
        ("event_types", "orders.*.created", "a star stands alone or after the last dot"),
        ("headers", "no colon", "line 1: write a name, a colon and a value"),
        ("headers", "X-A: 1\nX-A: 2", "line 2: the header &#x27;X-A&#x27; is given twice"),
        ("headers", "webhook-id: 7", "is set by us"),
        ("retry_schedule_s", "5s, soon", "&#x27;soon&#x27; is not a delay"),
        ("retry_schedule_s", "0", "every delay must be between"),
        ("timeout_s", "99", "less than or equal to 30"),
    ],
)
def test_an_error_is_shown_beside_its_field(admin_client: Client, field: str, written: str, told: str) -> None:
    subscription = new_subscription()

    answer = admin_client.post(change_url(subscription), subscription_form(**{field: written}))

    assert answer.status_code == 200
    assert told in answer.content.decode()
    before = getattr(subscription, field)
    subscription.refresh_from_db()
    assert getattr(subscription, field) == before


def test_event_types_that_are_unknown_are_saved_with_a_warning(admin_client: Client) -> None:
    EventType.objects.create(name="orders.created")
    subscription = new_subscription()

    saved = admin_client.post(change_url(subscription), subscription_form(event_types="orders.creatd"), follow=True)

    assert "Did you mean orders.created?" in saved.content.decode()
    subscription.refresh_from_db()
    assert subscription.event_types == ["orders.creatd"]


def test_of_the_operational_subscription_what_the_profile_decides_cannot_be_changed(admin_client: Client) -> None:
    own = services.operational_subscription(new_partner(operational_url="https://ops.example.com/a"))
    assert own is not None

    changes = subscription_form(url="https://ops.example.com/b", event_types="orders.*", filter="$.data", timeout_s="5")
    admin_client.post(change_url(own), changes)

    own.refresh_from_db()
    assert (own.url, own.event_types, own.filter) == ("https://ops.example.com/a", ["*"], "")
    assert own.timeout_s == 5


def test_credentials_in_headers_are_masked_and_kept(admin_client: Client) -> None:
    subscription = new_subscription(headers={"Authorization": "Bearer hunter2", "X-Shop": "42"})

    page = admin_client.get(change_url(subscription)).content.decode()
    masked = "Authorization: ••••••••"
    admin_client.post(
        change_url(subscription), subscription_form(headers=f"{masked}\nX-Shop: 43", url="https://b.example.com")
    )

    assert masked in page
    assert "hunter2" not in page
    assert "X-Shop: ••••••••" in page
    subscription.refresh_from_db()
    assert subscription.headers == {"Authorization": "Bearer hunter2", "X-Shop": "43"}


def test_a_delay_with_many_digits_is_shown_and_kept_as_it_is(admin_client: Client) -> None:
    subscription = new_subscription(retry_schedule_s=[36000.25, 90.5, 5, 7200])

    page = admin_client.get(change_url(subscription)).content.decode()
    admin_client.post(change_url(subscription), subscription_form(retry_schedule_s="36000.25s, 90.5s, 5s, 2h"))

    assert "36000.25s, 90.5s, 5s, 2h" in page
    subscription.refresh_from_db()
    assert subscription.retry_schedule_s == [36000.25, 90.5, 5, 7200]


def test_headers_and_secrets_whose_key_is_lost_can_be_replaced(admin_client: Client, settings: Any) -> None:
    subscription = new_subscription(headers={"Authorization": "Bearer old"})
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    masked = admin_client.post(change_url(subscription), subscription_form(headers="Authorization: ••••••••"))
    admin_client.post(change_url(subscription), subscription_form(headers="Authorization: Bearer new"))
    page = admin_client.get(change_url(subscription))
    revealed = admin_client.post(dialog_url(subscription, "reveal_secrets"), DIALOG)
    rotated = admin_client.post(dialog_url(subscription, "rotate_secret"), DIALOG)

    assert "write the value of" in masked.content.decode()
    subscription.refresh_from_db()
    assert subscription.headers == {"Authorization": "Bearer new"}
    assert b"cannot be read, so nothing is signed" in page.content
    assert SECRET.findall(revealed.content) == []
    assert b"One cannot be read" in revealed.content
    assert SECRET.findall(rotated.content) == [services.reveal_secrets(subscription)[0].encode()]
    assert b"No other one signs them." in rotated.content


def test_rotating_shows_the_new_secret_and_the_overlap(admin_client: Client) -> None:
    subscription = new_subscription()
    (old,) = services.reveal_secrets(subscription)

    asked = admin_client.get(dialog_url(subscription, "rotate_secret"))
    answer = admin_client.post(dialog_url(subscription, "rotate_secret"), DIALOG)

    new, kept = services.reveal_secrets(subscription)
    assert b"signs them too for\n  24 h" in asked.content
    assert SECRET.findall(answer.content) == [new.encode()]
    assert "no-store" in answer["Cache-Control"]
    assert kept == old
    assert LogEntry.objects.get().change_message == "Rotated the signing secret."


def test_revealing_is_written_into_the_history(admin_client: Client) -> None:
    subscription = new_subscription()

    answer = admin_client.post(dialog_url(subscription, "reveal_secrets"), DIALOG)

    assert SECRET.findall(answer.content) == [services.reveal_secrets(subscription)[0].encode()]
    assert LogEntry.objects.get().change_message == "Revealed the signing secrets."


def test_disabling_and_enabling(admin_client: Client) -> None:
    subscription = new_subscription()

    admin_client.post(dialog_url(subscription, "disable"), DIALOG)
    subscription.refresh_from_db()
    assert (subscription.is_enabled, subscription.disabled_reason) == (False, "staff")

    admin_client.post(dialog_url(subscription, "enable"), DIALOG)
    subscription.refresh_from_db()
    assert subscription.is_enabled


def test_staff_hold_a_subscription_that_its_partner_disabled(admin_client: Client) -> None:
    subscription = new_subscription()
    services.disable_subscription(subscription, "partner")

    offered = admin_client.get(change_url(subscription)).content.decode()
    admin_client.post(dialog_url(subscription, "disable"), DIALOG)

    assert "/disable/" in offered
    assert "/enable/" in offered
    subscription.refresh_from_db()
    assert subscription.disabled_reason == "staff"
    assert "/disable/" not in admin_client.get(change_url(subscription)).content.decode()


def test_a_deleted_subscription_is_marked_and_read_only(admin_client: Client) -> None:
    subscription = new_subscription()

    admin_client.post(dialog_url(subscription, "delete"), DIALOG)

    page = admin_client.get(change_url(subscription)).content.decode()
    assert "Deleted" in page
    assert "/enable/" not in page
    assert admin_client.post(change_url(subscription), subscription_form(url="https://x.example")).status_code == 403
    assert admin_client.post(dialog_url(subscription, "enable"), DIALOG).status_code == 404
    subscription.refresh_from_db()
    assert (subscription.url, subscription.is_enabled) == ("https://hooks.example.com/recart", False)


def test_the_operational_subscription_cannot_be_deleted(admin_client: Client) -> None:
    own = services.operational_subscription(new_partner(operational_url="https://ops.example.com/a"))
    assert own is not None

    ordinary = new_subscription(own.partner)
    assert "/delete/" in admin_client.get(change_url(ordinary)).content.decode()
    assert "/delete/" not in admin_client.get(change_url(own)).content.decode()
    assert admin_client.post(dialog_url(own, "delete"), DIALOG).status_code == 404
    own.refresh_from_db()
    assert own.deleted_at is None


def test_deleted_subscriptions_are_left_out_of_the_list_until_asked_for(admin_client: Client) -> None:
    subscription = new_subscription(description="Gone feed")
    services.delete_subscription(subscription)

    assert b"Gone feed" not in admin_client.get(list_url(Subscription)).content
    assert b"Gone feed" in admin_client.get(list_url(Subscription, state="deleted")).content


def test_subscriptions_are_enabled_and_disabled_in_bulk(admin_client: Client) -> None:
    partner = new_partner()
    subscriptions = [new_subscription(partner), new_subscription(partner)]
    chosen = {"_selected_action": [one.pk for one in subscriptions]}

    admin_client.post(list_url(Subscription), {**chosen, "action": "disable_selected"})
    assert Subscription.objects.filter(is_enabled=False).count() == 2

    admin_client.post(list_url(Subscription), {**chosen, "action": "enable_selected"})
    assert Subscription.objects.filter(is_enabled=True).count() == 2


def test_many_subscriptions_are_disabled_and_enabled_with_a_few_statements(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    partner = new_partner()
    chosen = {"_selected_action": [new_subscription(partner).pk for _ in range(40)]}

    for action, reasons in (("disable", ("", "staff")), ("enable", ("staff", ""))):
        with django_assert_max_num_queries(20):
            admin_client.post(list_url(Subscription), {**chosen, "action": f"{action}_selected"})

        entries = AuditEntry.objects.filter(action=f"subscription.{action}")
        assert len({entry.subject_id for entry in entries}) == 40
        assert {(one.before["disabled_reason"], one.after["disabled_reason"]) for one in entries} == {reasons}
    assert LogEntry.objects.count() == 80
