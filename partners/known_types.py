"""Names and patterns of event types that match nothing so far, perhaps because they are misspelt.

They are allowed: a type may be asked for before the first event of it comes.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from partners.models import EventType
from partners.patterns import candidates


def unknown_types(texts: Iterable[str]) -> list[str]:
    """A sentence for each that matches no type of the catalogue, and none that was seen in an event."""
    rows = EventType.objects.order_by("is_catalogued").values_list("name", "is_catalogued")  # True stays
    known = {pattern: is_catalogued for name, is_catalogued in rows for pattern in candidates(name)}
    return [_unknown(text, known) for text in texts if text not in known] if known else []


def _unknown(text: str, known: dict[str, bool]) -> str:
    near = get_close_matches(text, [pattern for pattern, is_catalogued in known.items() if is_catalogued], n=1)
    return f"No event type is known that {text} matches." + (f" Did you mean {near[0]}?" if near else "")
