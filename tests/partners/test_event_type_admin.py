"""The admin pages of event types, against the real database."""

import re

import pytest
from django.test import Client

from partners import services
from partners.admin.base import change_url, list_url
from partners.models import EventType
from tests.admin_pages import event_type_form, new_partner, new_subscription

pytestmark = pytest.mark.django_db


def test_an_event_type_shows_the_number_of_its_subscribers(admin_client: Client) -> None:
    partner = new_partner()
    for patterns in (["orders.*", "orders.created"], ["*"], ["carts.*"]):
        new_subscription(partner, event_types=patterns)
    services.disable_subscription(new_subscription(partner, event_types=["orders.created"]), "staff")
    EventType.objects.create(name="orders.created")

    page = admin_client.get(list_url(EventType)).content.decode()

    assert re.search(r"field-subscribers[^>]*>\s*2\s*<", page)


def test_types_that_were_seen_but_not_catalogued_are_found_and_added(admin_client: Client) -> None:
    EventType.objects.create(name="orders.created")
    EventType.objects.create(name="loyalty.earned", is_catalogued=False)

    page = admin_client.get(list_url(EventType, state="seen")).content
    admin_client.post(list_url(EventType), {"_selected_action": "loyalty.earned", "action": "catalogue_selected"})

    assert b"loyalty.earned" in page
    assert b"orders.created" not in page
    assert EventType.objects.get(name="loyalty.earned").is_catalogued


def test_event_types_are_filtered_by_category(admin_client: Client) -> None:
    for name in ("orders.created", "orders", "ordersbook.x", "carts.abandoned"):
        EventType.objects.create(name=name)

    page = admin_client.get(list_url(EventType, category="orders")).content.decode()

    shown = set(re.findall(r"eventtype/([a-z.]+)/change", page))
    assert shown == {"orders", "orders.created"}


def test_a_schema_and_a_sample_must_be_json(admin_client: Client) -> None:
    form = {"name": "orders.created", "sample": '{"a": 1,}', "schema": "", "on_schema_error": "flag", "version": "1"}

    answer = admin_client.post(f"{list_url(EventType)}add/", form)

    assert "not JSON" in answer.content.decode()
    assert not EventType.objects.exists()


def test_a_sample_must_match_its_schema(admin_client: Client) -> None:
    schema = '{"type": "object", "required": ["id"]}'
    add = f"{list_url(EventType)}add/"

    refused = admin_client.post(add, event_type_form(schema=schema, sample='{"number": 1}')).content.decode()
    assert "It breaks the schema" in refused
    assert not EventType.objects.exists()

    admin_client.post(add, event_type_form(schema=schema, sample='{"id": 1.0}'))
    assert EventType.objects.get().sample == '{"id": 1.0}'


def test_an_invalid_schema_is_refused_beside_its_field(admin_client: Client) -> None:
    form = event_type_form(schema='{"type": "text"}', sample="{}")

    assert "/type" in admin_client.post(f"{list_url(EventType)}add/", form).content.decode()
    assert not EventType.objects.exists()


def test_the_name_of_an_event_type_cannot_be_changed(admin_client: Client) -> None:
    event_type = EventType.objects.create(name="orders.created")

    admin_client.post(change_url(event_type), event_type_form(name="orders.made", description="New."))

    assert list(EventType.objects.values_list("name", "description")) == [("orders.created", "New.")]
