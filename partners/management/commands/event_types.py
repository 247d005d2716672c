"""`manage.py event_types sync FILE`: adds and updates event types from a YAML or JSON file.

Event types that are not in the file stay unchanged: another file may own them. A file with an error changes nothing.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from partners import audit
from partners.catalogue import CatalogueEntry, parse_catalogue
from partners.errors import InvalidInput
from partners.event_types import put_event_type


class Command(BaseCommand):
    help = "Adds and updates event types from a YAML or JSON file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["sync"])
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="says what would change, and changes nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            entries = parse_catalogue(path.read_bytes(), path.name)
        except OSError as error:
            raise CommandError(f"cannot read {path}: {error.strerror}") from None
        except InvalidInput as error:
            raise CommandError(str(error)) from None
        with audit.acting(audit.operator()), transaction.atomic():
            counts = {"added": 0, "changed": 0, "unchanged": 0}
            for entry in entries:
                what = put(entry)
                counts[what] += 1
                if what != "unchanged":
                    self.stdout.write(f"{what} {entry.name}")
            transaction.set_rollback(options["dry_run"])
        self.stdout.write(", ".join(f"{count} {what}" for what, count in counts.items()))


def put(entry: CatalogueEntry) -> str:
    """Adds or updates one event type. Returns "added", "changed" or "unchanged"."""
    fields = asdict(entry)
    try:
        return put_event_type(fields.pop("name"), fields)
    except ValidationError as error:
        raise CommandError(f"{entry.name}: {'; '.join(error.messages)}") from None
