import pytest

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
