"""Sample events for the editor: what the catalogue has."""

from collections.abc import Sequence

from delivery.verbs import NO_SAMPLE, catalogued_types
from partners.models import EventType
from partners.patterns import asks_for

TYPES_AT_MOST = 500


def types_for(patterns: Sequence[str]) -> list[str]:
    """Catalogued types, first those that the patterns ask for, and of these first those that have a sample."""
    names = [one.name for one in catalogued_types()[:TYPES_AT_MOST]]
    return sorted(names, key=lambda name: not asks_for(patterns, name))


def sample_of(event_type: str) -> str:
    found = EventType.objects.filter(pk=event_type).values_list("sample", flat=True).first()
    return found or NO_SAMPLE
