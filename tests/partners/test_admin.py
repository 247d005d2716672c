"""The admin pages of partners, subscriptions and event types together, and the audit log, against the real database."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.staticfiles.finders import find
from django.db import connection
from django.db.models import Model
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from partners import audit, services
from partners.admin.base import change_url, list_url
from partners.models import AuditEntry, EventType, Partner, Subscription
from tests.admin_pages import (
    DIALOG,
    SECRET,
    assert_staff_see,
    assert_strangers_log_in,
    dialog_url,
    event_type_form,
    new_partner,
    new_subscription,
)

pytestmark = pytest.mark.django_db


def every_page() -> list[str]:
    objects = [new_subscription(), Partner.objects.get(), EventType.objects.create(name="orders.created")]
    pages = []
    for obj in objects:
        listed = list_url(type(obj))
        pages += [listed, f"{listed}add/", change_url(obj), change_url(obj).replace("/change/", "/history/")]
    return [*pages, "/admin/"]


def test_every_page_opens_for_staff(admin_client: Client) -> None:
    assert_staff_see(admin_client, every_page())


def test_every_page_refuses_strangers(client: Client) -> None:
    assert_strangers_log_in(client, every_page())


@pytest.mark.parametrize(
    "asked",
    [
        "created_at__year=99999999999",
        "created_at__date__year=0",
        "created_at__contained_by=x",
        "name__regex=[",
        "name__range=",
        "name__range=abc",
        "name__range=0",
        "name__unaccent=a",
    ],
)
def test_a_lookup_that_fails_in_the_query_is_refused(admin_client: Client, asked: str) -> None:
    answer = admin_client.get(f"{list_url(Partner)}?{asked}")
    assert (answer.status_code, answer["Location"]) == (302, f"{list_url(Partner)}?e=1")


@pytest.mark.parametrize("model", admin.site._registry)
def test_every_list_refuses_a_lookup_that_fails_in_the_query(admin_client: Client, model: type[Model]) -> None:
    answer = admin_client.get(f"{list_url(model)}?pk__range=")
    assert (answer.status_code, answer["Location"]) == (302, f"{list_url(model)}?e=1")


def test_no_page_contains_a_secret(admin_client: Client) -> None:
    pages = every_page()
    subscription = Subscription.objects.get()
    services.update_subscription(subscription, {"headers": {"X-Api-Key": "hunter2"}})
    admin_client.post(dialog_url(subscription, "rotate_secret"), DIALOG)
    tokens = [secret.token.encode() for secret in subscription.secrets.all()]
    services.delete_subscription(new_subscription(subscription.partner, headers={"Cookie": "hunter2"}))
    deleted = Subscription.objects.exclude(deleted_at=None).get()

    for page in [*pages, change_url(deleted), list_url(Subscription, state="deleted")]:
        content = admin_client.get(page).content
        assert not SECRET.search(content), page
        assert b"hunter2" not in content, page
        assert not any(token in content for token in tokens), page


def test_the_forms_have_the_defaults_of_the_settings(admin_client: Client, settings: Any) -> None:
    settings.DEFAULT_MAX_IN_FLIGHT, settings.DELIVERY_TIMEOUT_S = 33, 7.5

    for model, given in (
        (Partner, {"name": "Okendo"}),
        (Subscription, {"partner": new_partner().pk, "url": "https://hooks.example.com/", "event_types": "orders.*"}),
    ):
        page = f"{list_url(model)}add/"
        form = admin_client.get(page).context["adminform"].form
        shown = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
        assert (
            admin_client.post(page, {name: value for name, value in shown.items() if value} | given).status_code == 302
        )

    assert Partner.objects.get(name="Okendo").max_in_flight == 33
    assert Subscription.objects.get().timeout_s == 7.5


def test_what_staff_change_is_in_the_audit_log(admin_client: Client) -> None:
    partner = new_partner(rate_limit="5/s")
    form = {"name": partner.name, "rate_limit": "9/s", "rate_limit_ceiling": "", "max_in_flight": "16"}
    form |= {"operational_url": "", "operational_email": "", "notes": ""}
    AuditEntry.objects.all().delete()

    admin_client.post(change_url(partner), form)
    admin_client.post(f"{list_url(EventType)}add/", event_type_form())
    admin_client.post(change_url(EventType.objects.get()), event_type_form(description="New."))
    admin_client.post(change_url(EventType.objects.get()).replace("/change/", "/delete/"), {"post": "yes"})
    admin_client.post(change_url(partner).replace("/change/", "/delete/"), {"post": "yes"})

    entries = list(AuditEntry.objects.order_by("id"))
    actions = ["partner.update", "event_type.create", "event_type.update", "event_type.delete", "partner.delete"]
    assert [entry.action for entry in entries] == actions
    assert {entry.actor_name for entry in entries} == {"admin"}
    assert (entries[0].before, entries[0].after) == ({"rate_limit": "5/s"}, {"rate_limit": "9/s"})
    assert (entries[2].before, entries[2].after) == ({"description": ""}, {"description": "New."})


def test_the_audit_log_is_shown_and_read_only(admin_client: Client) -> None:
    partner = new_partner(rate_limit="5/s")
    services.update_partner(partner, {"rate_limit": "9/s"})
    entry = AuditEntry.objects.get(action="partner.update")

    listed, page = admin_client.get(list_url(AuditEntry)), admin_client.get(change_url(entry))
    found = admin_client.get(list_url(AuditEntry, q=partner.pk[:20]))

    assert b"partner.update" in listed.content
    assert b"partner.update" in found.content
    assert b"5/s" in page.content
    assert b"9/s" in page.content
    assert admin_client.post(change_url(entry), {"action": "x"}).status_code == 403
    assert admin_client.get(f"{list_url(AuditEntry)}add/").status_code == 403


def test_the_pages_load_what_makes_menus_reachable_by_keyboard(admin_client: Client) -> None:
    assert '<script src="/static/recart_hooks/keyboard.js">' in admin_client.get(list_url(Partner)).content.decode()
    assert find("recart_hooks/keyboard.js")


def test_an_empty_list_offers_only_what_helps(admin_client: Client) -> None:
    for query, told, offered in (("", "There is nothing here yet.", False), ("?q=sub_1", "Nothing matches.", True)):
        page = admin_client.get(list_url(AuditEntry) + query).content.decode()
        assert told in page
        assert (">Show all</a>" in page) == offered
        assert "Create a new item" not in page


def test_an_audit_entry_leads_to_what_was_changed(admin_client: Client) -> None:
    subscription = new_subscription()
    entry = AuditEntry.objects.get(action="subscription.create")

    page = admin_client.get(change_url(entry)).content.decode()

    assert f'<a class="text-link" href="{change_url(subscription)}">{subscription.pk}</a>' in page


def test_the_size_of_a_large_table_is_estimated(admin_client: Client) -> None:
    AuditEntry.objects.bulk_create(AuditEntry(action="partner.update", subject_id="ptr_1") for _ in range(1234))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE partners_auditentry")

    assert b"about 1,234 in all" in admin_client.get(list_url(AuditEntry)).content


def test_the_audit_log_tells_a_key_from_a_person(admin_client: Client) -> None:
    partner = new_partner()
    with audit.acting(audit.Actor(audit.KINDS.KEY, "key_1", "admin")):
        services.update_partner(partner, {"rate_limit": "9/s"})
    entry = AuditEntry.objects.get(action="partner.update")

    for page in (list_url(AuditEntry, who="key"), change_url(entry)):
        assert b"API key admin" in admin_client.get(page).content


def test_the_number_of_queries_does_not_grow_with_the_rows(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        partner = new_partner(f"Partner {number}")
        new_subscription(partner)
        EventType.objects.create(name=f"orders.type{number}")

    for model, budget in ((Partner, 5), (Subscription, 5), (EventType, 7)):
        with django_assert_max_num_queries(budget):
            assert b"12 " in admin_client.get(list_url(model)).content
    with django_assert_max_num_queries(21):  # one of them only in the first request of a process
        admin_client.get(change_url(partner))
