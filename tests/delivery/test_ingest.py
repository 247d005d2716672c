"""A batch is stored once, however often it comes; PostgreSQL alone decides."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from delivery.due import Due
from delivery.ingest import Accepted, ingest
from delivery.messages import NewEvent
from delivery.models import Delivery, Event
from delivery.routing import Route
from delivery.selection import Selection
from partners.errors import TransformError
from partners.models import Subscription
from partners.services import create_partner, create_subscription
from tests.delivery.broker.waiting import until
from tests.locks import locked, somebody_waits

pytestmark = [pytest.mark.django_db, pytest.mark.servers]

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Everybody:
    """Routes every event to these subscriptions."""

    def __init__(self, *subscriptions: Subscription) -> None:
        self.routes = [Route(one.id, one.partner_id, ("*",), None) for one in subscriptions]

    def route(self, event: NewEvent) -> Selection:
        return Selection(wanted=self.routes)


def new(event_id: str, source: str = "", data: bytes = b'{"n": 1.10}') -> Accepted:
    return Accepted(NewEvent(event_id, "orders.created", source, AT, data))


@pytest.fixture
def reviews() -> Subscription:
    return create_subscription(create_partner("Awesome Reviews"), "https://hooks.reviews.com/in", ["orders.*"])


@pytest.fixture
def loyalty() -> Subscription:
    return create_subscription(create_partner("Loyal Llama"), "https://hooks.loyal-llama.com/all", ["*"])


def test_an_event_is_stored_with_one_delivery_per_subscription(reviews: Subscription, loyalty: Subscription) -> None:
    done = ingest([new("e1")], Everybody(reviews, loyalty))
    assert done.stored == {"e1"}
    assert Event.objects.get().data == '{"n": 1.10}'
    stored = {(one.id, one.partner_id, one.status, one.attempt_count) for one in Delivery.objects.all()}
    assert stored == {(one.delivery_id, one.partner_id, "pending", 0) for one in done.due}
    assert {one.partner_id for one in done.due} == {reviews.partner_id, loyalty.partner_id}
    assert all(one.attempt == 1 and one.due_at is None for one in done.due)


def test_a_repeated_batch_stores_nothing_and_yields_the_unfinished_deliveries_again(reviews: Subscription) -> None:
    first = ingest([new("e1"), new("e2")], Everybody(reviews))
    Delivery.objects.filter(event="e2").update(status="succeeded", next_attempt_at=None, finished_at=AT)
    done = ingest([new("e1"), new("e2")], Everybody(reviews))
    assert done.stored == frozenset()
    assert done.again == [one for one in first.due if one.delivery_id == Delivery.objects.get(event="e1").id]


def test_a_scheduled_retry_keeps_its_time_when_its_event_comes_again(reviews: Subscription) -> None:
    ingest([new("e1")], Everybody(reviews))
    later = AT + timedelta(hours=5)
    Delivery.objects.update(attempt_count=2, next_attempt_at=later)
    (due,) = ingest([new("e1")], Everybody(reviews)).again
    assert isinstance(due, Due)
    assert (due.attempt, due.due_at) == (3, later.timestamp())


def test_a_subscription_made_later_does_not_get_a_repeated_event(reviews: Subscription, loyalty: Subscription) -> None:
    ingest([new("e1")], Everybody(reviews))
    ingest([new("e1")], Everybody(reviews, loyalty))
    assert Delivery.objects.get().subscription == reviews


def test_an_id_twice_in_a_batch_is_one_event(reviews: Subscription) -> None:
    done = ingest([new("e1"), new("e1", data=b"{}")], Everybody(reviews))
    assert (Event.objects.count(), Delivery.objects.count(), len(done.due)) == (1, 1, 1)


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_the_same_id_from_two_cloudevents_sources_is_two_events(reviews: Subscription, in_one_batch: bool) -> None:
    batches = [[new("e1", "/a"), new("e1", "/b")]] if in_one_batch else [[new("e1", "/a")], [new("e1", "/b")]]
    for _ in range(2):
        for batch in batches:
            ids = ingest(batch, Everybody(reviews)).ids
        assert set(Event.objects.values_list("source", flat=True)) == {"/a", "/b"}
        assert Delivery.objects.count() == 2
        assert ids[-1].startswith("e1~")


class Undecided(Everybody):
    """A router whose filters fail for every event."""

    def route(self, event: NewEvent) -> Selection:
        return Selection(failed=[(route, TransformError("too_much_work", "gave up")) for route in self.routes])


def test_an_event_for_which_a_filter_fails_has_a_dead_delivery_with_the_reason(reviews: Subscription) -> None:
    done = ingest([new("e1")], Undecided(reviews))
    delivery = Delivery.objects.get()
    assert (done.due, delivery.status) == ([], "dead")
    assert delivery.last_error.startswith("filter: ")
    assert delivery.finished_at is not None


def test_an_empty_batch_is_fine() -> None:
    assert ingest([], Everybody()).due == []


@pytest.mark.django_db(transaction=True)
def test_batches_insert_events_in_the_same_order_so_that_they_do_not_wait_for_each_other() -> None:
    insert = (
        "SET LOCAL lock_timeout = '5s';"
        "INSERT INTO delivery_event (id, type, source, occurred_at, received_at, data, schema_error, traceparent)"
        " VALUES (%s, 'orders.created', '', now(), now(), '{}', '', '')"
    )

    def ingest_elsewhere() -> frozenset[str]:
        try:
            return ingest([new("e2"), new("e1")], Everybody()).stored
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with locked(insert, ["e1"], commits=True):
            ingesting = thread.submit(ingest_elsewhere)
            until(somebody_waits, "it has come to the first event")
            with locked(insert, ["e2"], commits=True):
                pass
        assert ingesting.result(30) == frozenset()
