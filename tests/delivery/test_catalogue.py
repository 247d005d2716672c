"""Events are checked against the row of their type: unknown types and broken schemas are delivered, flagged or
refused."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from delivery.catalogue import Catalogue
from delivery.errors import Unreadable
from delivery.messages import NewEvent
from partners.changes import Change
from partners.models import EventType

pytestmark = [pytest.mark.django_db, pytest.mark.servers]

SCHEMA = '{"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}}'


def order(data: bytes) -> NewEvent:
    return NewEvent("e1", "orders.created", "", datetime.now(UTC), data)


def test_an_unknown_type_is_delivered_and_shown_to_staff() -> None:
    accepted = Catalogue("deliver").accept(order(b"{}"))
    assert accepted.schema_error == ""
    assert not EventType.objects.get(name="orders.created").is_catalogued


def test_an_unknown_type_is_refused_when_set_so() -> None:
    catalogue = Catalogue("refuse")
    with pytest.raises(Unreadable, match="not in the catalogue"):
        catalogue.accept(order(b"{}"))
    assert not EventType.objects.exists()
    EventType.objects.create(name="orders.created")
    assert catalogue.accept(order(b"{}")).event.id == "e1"


def test_a_type_that_was_only_seen_stays_unknown() -> None:
    EventType.objects.create(name="orders.created", is_catalogued=False)
    with pytest.raises(Unreadable):
        Catalogue("refuse").accept(order(b"{}"))


def test_data_that_breaks_its_schema_is_flagged_or_refused_with_the_place() -> None:
    row = EventType.objects.create(name="orders.created", schema=SCHEMA)
    catalogue = Catalogue()
    assert catalogue.accept(order(b'{"total": 1.5}')).schema_error == ""
    assert "total" in catalogue.accept(order(b'{"total": "much"}')).schema_error
    EventType.objects.filter(pk=row.pk).update(on_schema_error="refuse")
    catalogue.take_over([Change("event_type", "orders.created")])
    with pytest.raises(Unreadable, match=r"breaks the schema of 'orders\.created'.*total"):
        catalogue.accept(order(b'{"total": "much"}'))


def test_the_reason_of_a_flag_can_be_stored_whatever_the_data_has() -> None:
    EventType.objects.create(name="orders.created", schema='{"additionalProperties": {"type": "string"}}')
    accepted = Catalogue().accept(order(rb'{"x\u0000y": 1}'))
    assert "x\N{SYMBOL FOR NULL}y" in accepted.schema_error


def test_a_schema_is_kept_until_its_change_is_announced() -> None:
    EventType.objects.create(name="orders.created", schema=SCHEMA)
    catalogue = Catalogue()
    catalogue.accept(order(b"{}"))
    EventType.objects.update(schema="")
    assert catalogue.accept(order(b"{}")).schema_error
    catalogue.take_over([Change("everything", "")])
    assert catalogue.accept(order(b"{}")).schema_error == ""


def test_invented_event_types_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.catalogue.SEEN_TYPES_MAX", 3)
    catalogue = Catalogue("deliver")
    for number in range(5):
        EventType.objects.create(name=f"orders.t{number}", schema=SCHEMA)
        assert catalogue.accept(replace(order(b"{}"), type=f"orders.t{number}")).schema_error
    assert list(catalogue._entries) == ["orders.t2", "orders.t3", "orders.t4"]


def test_a_schema_that_does_not_compile_does_not_stop_events() -> None:
    EventType.objects.create(name="orders.created", schema='{"type": "nonsense"}')
    assert Catalogue().accept(order(b"{}")).schema_error == ""
