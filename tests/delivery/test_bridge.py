"""Batches are stored, published and acknowledged in that order; a failure at any step loses nothing."""

import asyncio
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
import redis
from django.db import DataError, OperationalError

from delivery.bridge import Bridge
from delivery.catalogue import Catalogue
from delivery.dead_letters import store_dead_letters
from delivery.due import Queued
from delivery.models import DeadLetter, Delivery, Event
from delivery.routes import SubscriptionRouter
from delivery.sources import SourceMessage, SourceUnavailable
from partners.models import EventType
from partners.services import create_partner, create_subscription

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]

AT = datetime(2026, 11, 23, tzinfo=UTC)


def message(number: int, body: bytes = b'{"n": 1}') -> SourceMessage:
    return SourceMessage(
        "nats", "events.orders.created", {"nats-msg-id": f"e{number}"}, body, f"P_{number}", AT, number
    )


@dataclass
class Script:
    """A source that hands out these batches, and stops the bridge after the last one."""

    batches: list[list[SourceMessage]]
    bridge: Bridge | None = None
    refusals: int = 0
    acknowledged: list[str] = field(default_factory=list)
    terminated: list[str] = field(default_factory=list)

    async def connect(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise SourceUnavailable("nobody there")

    async def fetch(self, limit: int) -> list[SourceMessage]:
        if self.batches:
            return self.batches.pop(0)
        assert self.bridge is not None
        self.bridge.stop()
        return []

    async def acknowledge(self, messages: Sequence[SourceMessage]) -> None:
        self.acknowledged += [one.position for one in messages]

    async def terminate(self, messages: Sequence[SourceMessage]) -> None:
        self.terminated += [one.position for one in messages]

    async def close(self) -> None:
        pass


class Broker:
    """Remembers published attempts; away for the first `away` calls. A call without attempts does not count."""

    def __init__(self, away: int = 0) -> None:
        self.published: list[Queued] = []
        self.away = away

    def __call__(self, due: Sequence[Queued]) -> int:
        if self.away and due:
            self.away -= 1
            raise redis.ConnectionError("away")
        self.published += due
        return len(due)


def run(source: Script, broker: Broker, catalogue: Catalogue | None = None) -> Bridge:
    router = SubscriptionRouter()
    router.load()
    bridge = Bridge(source, router, catalogue or Catalogue(), max_bytes=10_000, send=broker)
    source.bridge = bridge
    asyncio.run(bridge.run())
    return bridge


@pytest.fixture(autouse=True)
def _subscription() -> None:
    create_subscription(create_partner("Awesome Reviews"), "https://hooks.reviews.com/in", ["orders.*"])


def test_a_batch_is_stored_published_and_acknowledged() -> None:
    source, broker = Script([[message(1), message(2)], [message(3)]]), Broker()
    bridge = run(source, broker)
    assert Event.objects.count() == 3
    assert {one.message_id for one in broker.published} == {one.next_due.message_id for one in Delivery.objects.all()}
    assert source.acknowledged == ["P_1", "P_2", "P_3"]
    assert (bridge.counts.events, bridge.counts.deliveries, bridge.counts.duplicates) == (3, 3, 0)


def test_a_batch_that_comes_again_is_published_again_and_stored_once() -> None:
    source, broker = Script([[message(1)], [message(1)]]), Broker()
    bridge = run(source, broker)
    assert Delivery.objects.count() == 1
    assert [one.message_id for one in broker.published] == [Delivery.objects.get().next_due.message_id] * 2
    assert (bridge.counts.deliveries, bridge.counts.duplicates) == (1, 1)


def test_nothing_is_stored_while_the_change_listener_is_not_connected() -> None:
    source, broker = Script([[message(1)]]), Broker()
    router = SubscriptionRouter()  # that knows of no subscription yet
    hears = iter([False, False, True])

    def is_current() -> bool:
        if heard := next(hears):
            router.load()
        return heard

    bridge = Bridge(source, router, Catalogue(), max_bytes=10_000, send=broker, is_current=is_current)
    source.bridge = bridge
    asyncio.run(bridge.run())
    assert (Event.objects.count(), Delivery.objects.count()) == (1, 1)
    assert source.acknowledged == ["P_1"]


def test_a_bridge_that_is_stopped_while_the_database_is_away_leaves_its_batch_to_the_next_one() -> None:
    source, broker = Script([[message(1)]]), Broker()

    def is_current() -> bool:
        bridge.stop()
        return False

    bridge = Bridge(source, SubscriptionRouter(), Catalogue(), max_bytes=10_000, send=broker, is_current=is_current)
    asyncio.run(bridge.run())
    assert (source.acknowledged, source.terminated, source.batches) == ([], [], [])
    assert not Event.objects.exists()


def test_an_unreadable_message_is_a_dead_letter_with_the_reason_and_is_terminated() -> None:
    source = Script([[message(1, b"\xff\x00nonsense"), message(2)], [message(1, b"\xff\x00nonsense")]])
    bridge = run(source, Broker())
    letter = DeadLetter.objects.get()
    assert (bytes(letter.body), letter.subject, letter.position) == (
        b"\xff\x00nonsense",
        "events.orders.created",
        "P_1",
    )
    assert "UTF-8" in letter.reason
    assert (source.terminated, source.acknowledged) == (["P_1", "P_1"], ["P_2"])
    assert bridge.counts.dead_letters == 2


def test_large_dead_letters_take_little_memory() -> None:
    letters = [(message(n, b"\xff" * 1_000_000), "not JSON") for n in range(20)]
    tracemalloc.start()
    store_dead_letters(letters)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * 20_000_000
    assert DeadLetter.objects.count() == 20


def test_a_subject_that_postgresql_refuses_is_stored_in_readable_form() -> None:
    source = Script([[replace(message(1), subject="events.a\0b"), message(2)]])
    run(source, Broker())
    assert DeadLetter.objects.get().subject == "events.a\N{SYMBOL FOR NULL}b"
    assert (source.terminated, source.acknowledged) == (["P_1"], ["P_2"])


def test_a_number_too_large_for_a_float_does_not_stop_the_bridge() -> None:
    EventType.objects.create(name="orders.created", schema='{"properties": {"n": {"maximum": 5}}}')
    head = b'{"specversion":"1.0","source":"s","type":"orders.created","id":'
    long = b"9" * 5000
    source = Script(
        [
            [
                message(1, head + b'"e1","ext":1e400,"data":{}}'),
                message(2, head + b'"e2","data":{"n":' + long + b"}}"),
                message(3, b'{"n":1e9999999999999999999999}'),
                message(4),
            ]
        ]
    )
    run(source, Broker())
    assert (source.terminated, source.acknowledged) == (["P_1"], ["P_2", "P_3", "P_4"])
    assert set(Event.objects.exclude(schema_error="").values_list("id", flat=True)) == {"e2", "e3"}


def test_a_message_that_raises_an_exception_is_a_dead_letter_and_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Strange(Catalogue):
        def accept(self, event):  # type: ignore[no-untyped-def]
            if event.id == "e2":
                raise RuntimeError("never thought of")
            return super().accept(event)

    source = Script([[message(1), message(2)]])
    run(source, Broker(), Strange())
    assert (source.acknowledged, source.terminated) == (["P_1"], ["P_2"])
    assert DeadLetter.objects.get().reason == "it cannot be read: RuntimeError: never thought of"
    assert any(
        record.exc_info and record.getMessage() == "reading a message raised an exception" for record in caplog.records
    )


def test_a_database_that_goes_away_while_a_message_is_read_makes_no_dead_letter() -> None:
    failures = [OperationalError("server closed the connection")]

    class Away(Catalogue):
        def accept(self, event):  # type: ignore[no-untyped-def]
            if failures:
                raise failures.pop()
            return super().accept(event)

    source = Script([[message(1)]])
    run(source, Broker(), Away())
    assert source.acknowledged == ["P_1"]
    assert not DeadLetter.objects.exists()


def test_without_the_broker_events_are_stored_and_acknowledged_all_the_same() -> None:
    source, broker = Script([[message(1)], [message(2)]]), Broker(away=1)
    run(source, broker)
    assert Delivery.objects.filter(status="pending").count() == 2
    assert source.acknowledged == ["P_1", "P_2"]


def test_a_batch_without_deliveries_does_not_reset_the_count_of_unpublished_ones() -> None:
    unwanted = replace(message(2), subject="events.customers.created")
    bridge = run(Script([[message(1)], [unwanted], [message(3)]]), Broker(away=2))
    assert Event.objects.count() == 3
    assert bridge.counts.unpublished == 2


def test_without_the_database_the_batch_is_kept_and_nothing_is_acknowledged() -> None:
    failures = [OperationalError("server closed the connection"), OperationalError("still away")]

    class Away(SubscriptionRouter):
        def route(self, event):  # type: ignore[no-untyped-def]
            if failures:
                raise failures.pop()
            assert source.acknowledged == []
            return super().route(event)

    source, broker = Script([[message(1)]]), Broker()
    router = Away()
    router.load()
    bridge = Bridge(source, router, Catalogue(), max_bytes=10_000, send=broker)
    source.bridge = bridge
    asyncio.run(bridge.run())
    assert source.acknowledged == ["P_1"]
    assert len(broker.published) == 1


def test_a_source_that_is_away_is_tried_again() -> None:
    source = Script([[message(1)]], refusals=2)
    run(source, Broker())
    assert source.acknowledged == ["P_1"]


def test_an_event_that_cannot_be_stored_is_a_dead_letter_and_does_not_stop_the_others() -> None:
    class Strange(SubscriptionRouter):
        def route(self, event):  # type: ignore[no-untyped-def]
            if event.id == "e2":
                raise DataError("invalid byte sequence")
            return super().route(event)

    source, broker, router = Script([[message(1), message(2), message(3)]]), Broker(), Strange()
    router.load()
    bridge = Bridge(source, router, Catalogue(), max_bytes=10_000, send=broker)
    source.bridge = bridge
    asyncio.run(bridge.run())
    assert set(Event.objects.values_list("id", flat=True)) == {"e1", "e3"}
    assert (source.acknowledged, source.terminated) == (["P_1", "P_3"], ["P_2"])
    assert DeadLetter.objects.get().reason == "it cannot be stored: invalid byte sequence"


def test_a_database_that_goes_away_while_a_dead_letter_is_stored_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [OperationalError("server closed the connection"), OperationalError("still away")]

    def store(unreadable: Sequence[tuple[SourceMessage, str]]) -> None:
        if unreadable and failures:
            raise failures.pop()
        store_dead_letters(unreadable)

    monkeypatch.setattr("delivery.bridge.store_dead_letters", store)

    class Strange(SubscriptionRouter):
        def route(self, event):  # type: ignore[no-untyped-def]
            if event.id == "e1":
                raise DataError("invalid byte sequence")
            return super().route(event)

    source, broker, router = Script([[message(1)], [message(2)]]), Broker(), Strange()
    router.load()
    bridge = Bridge(source, router, Catalogue(), max_bytes=10_000, send=broker)
    source.bridge = bridge
    asyncio.run(bridge.run())
    assert not failures
    assert (source.acknowledged, source.terminated) == (["P_2"], ["P_1"])
    assert (DeadLetter.objects.count(), bridge.counts.dead_letters) == (1, 1)
