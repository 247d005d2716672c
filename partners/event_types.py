"""The catalogue of event types in PostgreSQL: its changes, and what matches nothing in it."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any, Literal

from django.db import transaction

from partners import audit
from partners.models import EventType
from partners.patterns import EVERYTHING, candidates

_TOLD = 5
"""Of so many unknown types: each is compared with the whole catalogue, which takes 0.3 s if that has 3,000 types."""
_COMPARED = 5_000
"""Types of the catalogue."""


def put_event_type(name: str, fields: Mapping[str, Any]) -> Literal["added", "changed", "unchanged"]:
    """Adds or updates an event type of the catalogue; returns what it did. One only seen in events is added."""
    EventType(name=name).clean_fields()
    with transaction.atomic():
        # An event of this type may insert the row at the same time.
        rows = EventType.objects.select_for_update()
        row, is_new = rows.get_or_create(name=name, defaults={"is_catalogued": False})
        before = {} if is_new else audit.snapshot(row)
        is_added, wanted = not row.is_catalogued, {**fields, "is_catalogued": True}
        if not is_added and all(before[field] == value for field, value in wanted.items()):
            return "unchanged"
        for field, value in wanted.items():
            setattr(row, field, value)
        row.full_clean()
        row.save()
        action = "event_type.create" if is_new else "event_type.update"
        audit.record(action, row, partner_id=None, before=before, after=audit.snapshot(row))
        return "added" if is_added else "changed"


def unknown_types(texts: Iterable[str]) -> list[str]:
    """A sentence for each name or pattern that matches no type of the catalogue, and none that was seen in an event;
    for the first of them, if there are many.

    Such are allowed, because a type may be asked for before its first event comes, but may be misspelt.
    """
    unknown = list(islice((text for text in texts if not _is_known(text)), _TOLD))
    if not unknown or not EventType.objects.exists():
        return []
    names = EventType.objects.filter(is_catalogued=True).order_by("name").values_list("name", flat=True)[:_COMPARED]
    catalogued = list(dict.fromkeys(pattern for name in names for pattern in candidates(name)))
    return [_unknown(text, catalogued) for text in unknown]


def _is_known(text: str) -> bool:
    """Looks it up by an index: producers may have sent events of very many types."""
    if text == EVERYTHING:
        return True
    matching = {"name__startswith": text[:-1]} if text.endswith(".*") else {"name": text}
    return EventType.objects.filter(**matching).exists()


def _unknown(text: str, catalogued: list[str]) -> str:
    near = get_close_matches(text, catalogued, n=1)
    return f"No event type is known that {text} matches." + (f" Did you mean {near[0]}?" if near else "")
