"""The catalogue by API: every key reads it, a key of the catalogue changes it, with the checks of the admin's form."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from partners.models import AuditEntry, EventType
from tests.api_calls import caller, is_problem
from tests.delivery.broker.waiting import until
from tests.locks import locked, somebody_waits

pytestmark = pytest.mark.django_db

ORDER = {
    "description": "An order was placed.",
    "schema": {"type": "object", "required": ["id"]},
    "sample": {"id": 820982911946154508},
    "version": 2,
    "on_schema_error": "refuse",
}


def test_a_type_is_added_read_by_a_partner_and_changed() -> None:
    keeper = caller("catalogue")

    added = keeper.put("/event-types/orders.created", b'{"sample": {"total": 1.10, "id": 820982911946154508}}')
    assert added.status_code == 201
    read = caller().get("/event-types/orders.created")
    assert b'"sample":{"total": 1.10, "id": 820982911946154508}' in read.content
    assert read.json()["on_schema_error"] == "flag"

    changed = keeper.put("/event-types/orders.created", ORDER, if_match=read["ETag"])
    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in ORDER} == ORDER
    assert is_problem(keeper.put("/event-types/orders.created", ORDER, if_match=read["ETag"]), 412, "changed_meanwhile")


def test_a_type_seen_in_events_is_catalogued_and_the_audit_log_names_the_key() -> None:
    EventType.objects.create(name="carts.seen", is_catalogued=False)
    keeper = caller("catalogue")
    assert keeper.put("/event-types/carts.seen", {"description": "Seen."}).status_code == 201
    assert EventType.objects.get().is_catalogued
    entry = AuditEntry.objects.get(action="event_type.update")
    assert (entry.subject_id, entry.actor_id, entry.after["description"]) == ("carts.seen", keeper.key.pk, "Seen.")
    keeper.put("/event-types/carts.seen", {"description": "Seen."})
    assert AuditEntry.objects.filter(action="event_type.update").count() == 1, "the same again is no change"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"schema": {"type": "no such type"}}, "#/schema/type"),
        ({"schema": {"required": ["id"]}, "sample": {}}, "#/sample"),
        ({"version": "2"}, "#/version"),
        ({"version": 0}, "#/version"),
        ({"deprecated": True}, "#/deprecated"),
        ({"on_schema_error": "ignore"}, "#/on_schema_error"),
        ({"description": "a\0b"}, "#/description"),
        ([], "#"),
    ],
)
def test_an_error_has_its_place_and_changes_nothing(body: Any, place: str) -> None:
    assert is_problem(caller("catalogue").put("/event-types/orders.created", body), 400, "invalid", place)
    assert not EventType.objects.exists()


def test_an_invalid_name_is_refused() -> None:
    assert is_problem(caller("catalogue").put("/event-types/orders..created", {}), 400, "invalid", "name")


def test_if_match_finds_nothing_at_a_type_that_is_not_catalogued() -> None:
    EventType.objects.create(name="carts.seen", is_catalogued=False)
    for name in ("carts.seen", "carts.new"):
        assert is_problem(caller("catalogue").put(f"/event-types/{name}", {}, if_match="*"), 412, "changed_meanwhile")

    assert not EventType.objects.filter(is_catalogued=True).exists()


@pytest.mark.django_db(transaction=True)
def test_a_type_that_an_event_brings_at_the_same_time_is_catalogued() -> None:
    keeper = caller("catalogue")
    seen = """
        INSERT INTO partners_eventtype (name, description, schema, sample, version, on_schema_error, is_deprecated,
                                        is_catalogued, created_at, updated_at)
        VALUES ('carts.seen', '', '', '', 1, 'flag', false, false, now(), now())"""

    def put() -> Any:
        try:
            return keeper.put("/event-types/carts.seen", {"description": "Seen."})
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with locked(seen, commits=True):
            putting = thread.submit(put)
            until(somebody_waits, "it inserts too")
        assert putting.result(30).status_code == 201
    assert EventType.objects.get().description == "Seen."


@pytest.mark.parametrize("scope", ["partner", "read_only", "producer"])
def test_no_other_key_changes_the_catalogue(scope: str) -> None:
    answer = caller(scope).put("/event-types/orders.created", ORDER)

    assert is_problem(answer, 403, "permission_denied")
    assert answer.json()["detail"] == f"this API key has the scope `{scope}`: PUT needs `catalogue` here"
