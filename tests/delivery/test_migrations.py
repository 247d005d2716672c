"""Migrations of hot tables take no lasting lock, so that workers continue while they run.

The rule: the first migration of a table may do anything; after it, indexes come concurrently, constraints unvalidated
(and are validated by a migration of their own), columns nullable or with a default that PostgreSQL keeps; a foreign key
may go. Data is moved by commands in small batches, not by migrations.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader

HOT = {"event", "delivery", "attempt", "rollup"}
HARMLESS = (
    *(AddIndexConcurrently, RemoveIndexConcurrently, AddConstraintNotValid, ValidateConstraint),
    *(migrations.RemoveConstraint, migrations.AlterModelOptions, migrations.AlterModelManagers),
)


def breaches(migration: Any) -> Iterator[str]:
    """Operations of a migration that block writers of a hot table for long."""
    made = {one.name.lower() for one in migration.operations if isinstance(one, migrations.CreateModel)}
    for operation in migration.operations:
        if isinstance(operation, migrations.RunPython):
            yield "RunPython: move data with a command"
        if isinstance(operation, migrations.RunSQL):
            sql = str(operation.sql)
            yield from (f"RunSQL on {table}" for table in sorted(HOT) if re.search(rf"\bdelivery_{table}\b", sql))
        table = getattr(operation, "model_name", "").lower()
        if table not in HOT - made or isinstance(operation, HARMLESS):
            continue
        if isinstance(operation, migrations.AddField) and _is_quick(operation.field):
            continue
        if isinstance(operation, migrations.AlterField) and _only_drops_a_foreign_key(operation.field):
            continue
        yield f"{type(operation).__name__} on {table}"


def _is_quick(field: "models.Field[Any, Any]") -> bool:
    """Whether PostgreSQL adds this column without rewriting or checking rows."""
    has_value = field.null or field.db_default is not models.NOT_PROVIDED
    return has_value and not getattr(field, "db_index", False) and not field.unique and not field.is_relation


def _only_drops_a_foreign_key(field: "models.Field[Any, Any]") -> bool:
    """Changes only PostgreSQL's catalogue. (It would drop an index too, but hot tables have none on foreign keys.)"""
    has_more = any(getattr(field, name) for name in ("db_constraint", "db_index", "unique") if hasattr(field, name))
    return isinstance(field, models.ForeignKey) and not has_more


def test_no_migration_of_a_hot_table_holds_others_up() -> None:
    loaded = MigrationLoader(None).disk_migrations
    found = {
        f"{app}.{name}": list(breaches(migration))
        for (app, name), migration in loaded.items()
        if app == "delivery" and not migration.initial
    }
    assert found
    assert not {name: what for name, what in found.items() if what}


@pytest.mark.parametrize(
    ("operation", "breach"),
    [
        (migrations.AddIndex("delivery", models.Index(fields=["event_type"], name="i")), "AddIndex on delivery"),
        (migrations.AddField("attempt", "region", models.TextField(default="")), "AddField on attempt"),
        (migrations.AlterField("event", "type", models.TextField()), "AlterField on event"),
        (
            migrations.AlterField("attempt", "delivery", models.ForeignKey("delivery.Delivery", models.CASCADE)),
            "AlterField on attempt",
        ),
        (migrations.RunSQL("UPDATE delivery_event SET source = ''"), "RunSQL on event"),
        (migrations.RunPython(migrations.RunPython.noop), "RunPython: move data with a command"),
    ],
)
def test_what_would_hold_others_up_is_found(operation: Any, breach: str) -> None:
    migration = type("Migration", (migrations.Migration,), {"operations": [operation]})

    assert list(breaches(migration)) == [breach]


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("attempt", "region", models.TextField(null=True)),
        migrations.AddField("attempt", "region", models.TextField(db_default="")),
        AddIndexConcurrently("delivery", models.Index(fields=["event_type"], name="i")),
        migrations.AlterField(
            "attempt",
            "delivery",
            models.ForeignKey("delivery.Delivery", models.CASCADE, db_constraint=False, db_index=False),
        ),
        migrations.AddField("replayjob", "note", models.TextField(default="")),
    ],
)
def test_what_is_quick_is_allowed(operation: Any) -> None:
    migration = type("Migration", (migrations.Migration,), {"operations": [operation]})

    assert not list(breaches(migration))
