"""`manage.py event_types sync FILE` applies all of a file to the catalogue, or nothing."""

import getpass
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from partners.models import AuditEntry, EventType

pytestmark = [pytest.mark.django_db, pytest.mark.servers]

FILE = """
event_types:
  - name: orders.created
    description: An order was placed.
    version: 2
    on_schema_error: refuse
    schema: {type: object, required: [id]}
    sample: {id: 820982911946154508, total_price: "199.00"}
  - name: carts.abandoned
"""


def sync(directory: Path, text: str, *options: str) -> str:
    path = directory / "types.yaml"
    path.write_text(text)
    said = StringIO()
    call_command("event_types", "sync", str(path), *options, stdout=said)
    return said.getvalue()


def test_types_are_added_changed_and_left_alone(tmp_path: Path) -> None:
    EventType.objects.create(name="carts.abandoned", is_catalogued=False)
    EventType.objects.create(name="reviews.requested", description="of another file")
    assert "added orders.created\nadded carts.abandoned\n2 added, 0 changed, 0 unchanged" in sync(tmp_path, FILE)
    assert "0 added, 0 changed, 2 unchanged" in sync(tmp_path, FILE)
    order = EventType.objects.get(name="orders.created")
    assert (order.version, order.on_schema_error, order.is_catalogued) == (2, "refuse", True)
    assert "820982911946154508" in order.sample
    assert EventType.objects.get(name="carts.abandoned").is_catalogued
    assert EventType.objects.get(name="reviews.requested").description == "of another file"


def test_the_audit_log_names_who_ran_it(tmp_path: Path) -> None:
    sync(tmp_path, FILE)
    assert set(AuditEntry.objects.values_list("actor_kind", "actor_name")) == {
        ("staff", f"{getpass.getuser()}, command line")
    }


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    assert "2 added" in sync(tmp_path, FILE, "--dry-run")
    assert not EventType.objects.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event_types: [{description: no name}]", "name"),
        (FILE + "  - name: orders.paid\n    schema: {type: nonsense}\n", "schema"),
        ("event_types: [", "line"),
    ],
)
def test_an_error_has_its_place_and_changes_nothing(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        sync(tmp_path, text)
    assert not EventType.objects.exists()


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot read"):
        call_command("event_types", "sync", str(tmp_path / "none.yaml"))
