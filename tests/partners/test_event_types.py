import pytest
from pytest_django import DjangoAssertNumQueries

from partners.event_types import unknown_types
from partners.models import EventType
from partners.patterns import PATTERNS_MAX

pytestmark = pytest.mark.django_db


def test_of_many_unknown_types_the_first_are_told() -> None:
    """Each is compared with the whole catalogue, in a thread of the web process."""
    EventType.objects.create(name="orders.created")
    told = unknown_types(["orders.*", *(f"unknown{n}.*" for n in range(PATTERNS_MAX))])
    assert len(told) == 5
    assert "unknown0.*" in told[0]


def test_types_seen_in_events_are_known_but_not_proposed_however_many_they_are(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    EventType.objects.create(name="orders.created")
    names = (f"seen.kind_{n}" for n in range(20_000))
    EventType.objects.bulk_create(EventType(name=name, is_catalogued=False) for name in names)
    with django_assert_max_num_queries(5) as asked:
        told = unknown_types(["seen.*", "*", "seen.kind_7", "orders.creatd"])
    assert told == ["No event type is known that orders.creatd matches. Did you mean orders.created?"]
    assert all("LIMIT" in query["sql"] for query in asked.captured_queries)
