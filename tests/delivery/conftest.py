"""The broker's queues, the thread of deliveries, and a subscription with deliveries, for tests of one process."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from delivery import publish
from delivery.broker import FairQueues
from delivery.due import Due
from delivery.ingest import Accepted, ingest
from delivery.messages import NewEvent
from delivery.routing import Route
from delivery.selection import Selection
from delivery.turns import Turns
from partners.models import Subscription
from partners.services import create_partner, create_subscription
from tests.proxy import Proxy


@pytest.fixture
def wiped_queues(valkey: str) -> Iterator[FairQueues]:
    """Empty before and after, as in a Valkey that was wiped."""
    own = publish.queues()
    own.client.flushdb()
    yield own
    own.client.flushdb()


@pytest.fixture
def queues(wiped_queues: FairQueues) -> FairQueues:
    """Empty, and marked as complete, like the queues of a running system."""
    wiped_queues.mark()
    return wiped_queues


@pytest.fixture
def valkey_wire(valkey: str, settings: Any) -> Iterator[Proxy]:
    """What lies between Valkey and the queues."""
    port = urlsplit(valkey).port
    assert port is not None
    with Proxy(("127.0.0.1", port)) as wire:
        settings.BROKER_URL = valkey.replace(f":{port}", f":{wire.port}")
        publish.queues.cache_clear()
        yield wire
        publish.queues(publish.BRIEF_S).client.close()
        publish.queues.cache_clear()


@pytest.fixture
def broker_away(settings: Any) -> Iterator[None]:
    there, settings.BROKER_URL = settings.BROKER_URL, "fair://127.0.0.1:1/0"
    publish.queues.cache_clear()
    yield
    settings.BROKER_URL = there
    publish.queues.cache_clear()


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns("test", helpers=4)
    turns.start()
    yield turns
    turns.stop(30)


@pytest.fixture
def subscription() -> Subscription:
    return create_subscription(create_partner("Awesome Reviews"), "https://hooks.reviews.com/in", ["*"])


@pytest.fixture
def due(subscription: Subscription) -> list[Due]:
    """Deliveries of the events e0 to e2 to the subscription."""

    class Router:
        def route(self, _event: NewEvent) -> Selection:
            return Selection(wanted=[Route(subscription.id, subscription.partner_id, ("*",))])

    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    events = [Accepted(NewEvent(f"e{n}", "orders.created", "", at, b'{"n": 1.0}')) for n in range(3)]
    return list(ingest(events, Router()).due)
