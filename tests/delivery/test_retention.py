"""Old rows are removed in small steps; rows that are needed stay."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import checks
from django.db import connection
from pytest_django import Settings

from delivery.models import Attempt, DeadLetter, Delivery, Event, FanOut, OperationalEvent, Rollup
from delivery.resolutions import HOUR_S, MINUTE_S, roll_up
from delivery.retention import tables
from delivery.retention.places import kept_places
from delivery.retention.removal import Remover, Rule
from delivery.retention.rules import check_ages, check_archive, configured_archive, configured_rules
from delivery.rollups import Cell, write
from partners.identifiers import first_id
from partners.models import Subscription
from tests.locks import locked

pytestmark = [pytest.mark.django_db, pytest.mark.servers]

NOW = datetime.now(UTC).replace(microsecond=0)
KEPT = timedelta(days=30)
OLD, YOUNG = NOW - timedelta(days=31), NOW - timedelta(days=29)
LONG_RULES = [Rule(table, KEPT) for table in (tables.ATTEMPTS, tables.DELIVERIES, tables.EVENTS)]


class Store:
    """Creates deliveries of a given age, each with an attempt."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.count = 0

    def delivery(self, at: datetime, status: str = "succeeded", attempt_at: datetime | None = None) -> Delivery:
        self.count += 1
        event = Event.objects.create(
            id=f"e{self.count}", type="orders.created", occurred_at=at, received_at=at, data="{}"
        )
        made = Delivery.objects.create(
            id=f"{first_id('dlv', at)}{self.count:020x}",
            event=event,
            subscription=self.subscription,
            partner_id=self.subscription.partner_id,
            event_type=event.type,
            status=status,
            created_at=at,
            finished_at=None if status == "pending" else attempt_at or at,
            next_attempt_at=at if status == "pending" else None,
        )
        Attempt.objects.create(delivery=made, number=1, started_at=attempt_at or at, latency_ms=5)
        return made


@pytest.fixture
def store(subscription: Subscription) -> Store:
    return Store(subscription)


def remover(**options: Any) -> Remover:
    return Remover(rest=lambda _: None, **options)


def short_run(rule: Rule) -> None:
    """Makes a run that has time for two or three pages of two rows."""
    ticks = iter(range(1000))
    with kept_places() as reached:
        hasty = remover(batch=2, budget_s=12, reached=reached, clock=lambda: float(next(ticks)))
        hasty.run([rule], NOW)


def test_old_deliveries_go_with_their_attempts_and_events(store: Store) -> None:
    old, young = store.delivery(OLD), store.delivery(YOUNG)
    store.delivery(OLD, "dead")
    removed = remover().run(LONG_RULES, NOW)
    assert removed == {"delivery_attempt": 2, "delivery_delivery": 2, "delivery_event": 2}
    assert list(Delivery.objects.all()) == [young]
    assert list(Event.objects.all()) == [young.event]
    assert not Attempt.objects.filter(delivery=old).exists()


def test_an_event_that_got_a_delivery_while_it_was_chosen_stays(store: Store) -> None:
    made = store.delivery(OLD)
    ((_, statement),) = tables.EVENTS.delete
    with connection.cursor() as cursor:
        cursor.execute(statement, {"keys": [made.event_id]})
    assert Event.objects.get() == made.event


def test_what_is_pending_stays_with_its_event_whatever_its_age(store: Store) -> None:
    store.delivery(OLD, "pending")
    remover().run(LONG_RULES[1:], NOW)
    assert (Delivery.objects.count(), Event.objects.count(), Attempt.objects.count()) == (1, 1, 1)


def test_an_event_whose_deliveries_are_still_to_be_made_stays(store: Store) -> None:
    made = store.delivery(OLD)
    FanOut.objects.create(event=made.event, partner_id=made.partner_id, event_type="orders.created", created_at=OLD)
    remover().run(LONG_RULES, NOW)
    assert (Delivery.objects.count(), Event.objects.count()) == (0, 1)
    ((_, statement),) = tables.EVENTS.delete
    with connection.cursor() as cursor:
        cursor.execute(statement, {"keys": [made.event_id]})
    assert Event.objects.exists()


def test_a_delivery_that_was_retried_lately_stays(store: Store) -> None:
    store.delivery(OLD, "dead", attempt_at=YOUNG)
    assert sum(remover().run(LONG_RULES, NOW).values()) == 0


def test_attempts_can_go_before_their_deliveries(store: Store) -> None:
    store.delivery(YOUNG)
    removed = remover().run([Rule(tables.ATTEMPTS, timedelta(days=7)), *LONG_RULES[1:]], NOW)
    assert removed["delivery_attempt"] == 1
    assert Delivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_is_being_expunged_is_left_to_a_later_run(store: Store) -> None:
    busy, free = store.delivery(OLD), store.delivery(OLD)
    rules = [Rule(tables.ATTEMPTS, KEPT)]
    with locked("UPDATE delivery_attempt SET response_excerpt = '' WHERE delivery_id = %s", [busy.pk]):
        assert remover().run(rules, NOW) == {"delivery_attempt": 1}
        assert not Attempt.objects.filter(delivery=free).exists()
    assert remover().run(rules, NOW) == {"delivery_attempt": 1}


def test_small_pages_remove_as_much_as_one_and_step_over_what_stays(store: Store) -> None:
    for number in range(25):
        store.delivery(OLD + timedelta(minutes=number), "pending" if number % 3 == 0 else "succeeded")
    rests: list[float] = []
    removed = Remover(rest=rests.append, batch=2).run(LONG_RULES, NOW)
    assert removed["delivery_delivery"] == removed["delivery_event"] == 16
    assert Delivery.objects.count() == 9
    assert len(rests) == 13 * 3


def test_a_run_ends_with_its_time_and_the_next_one_goes_on(store: Store) -> None:
    for number in range(10):
        store.delivery(OLD + timedelta(minutes=number))
    ticks = iter(range(1000))
    first = Remover(rest=lambda _: None, batch=2, budget_s=10, clock=lambda: float(next(ticks)))
    assert first.run(LONG_RULES[1:], NOW)["delivery_delivery"] == 6
    assert remover().run(LONG_RULES[1:], NOW)["delivery_delivery"] == 4


def test_what_stays_is_not_looked_at_by_each_run_before_all_others(store: Store, valkey: str) -> None:
    for number in range(20):
        store.delivery(OLD + timedelta(minutes=number), "pending" if number < 14 else "succeeded")

    for _ in range(5):
        short_run(LONG_RULES[1])

    assert set(Delivery.objects.values_list("status", flat=True)) == {"pending"}
    store.delivery(OLD - timedelta(minutes=1), "succeeded")
    for _ in range(5):
        short_run(LONG_RULES[1])
    assert set(Delivery.objects.values_list("status", flat=True)) == {"pending"}, "it begins again"


def test_a_place_is_the_same_to_postgresql_when_it_was_kept(store: Store, valkey: str) -> None:
    for number in range(6):
        store.delivery(OLD + timedelta(seconds=number, microseconds=7))
    Delivery.objects.all().delete()
    for _ in range(3):
        short_run(LONG_RULES[2])
    assert not Event.objects.exists()


def test_each_table_has_its_turn(store: Store) -> None:
    for number in range(20):
        store.delivery(OLD + timedelta(minutes=number))
        DeadLetter.objects.create(source="nats", position=str(number), body=b"", reason="no", received_at=OLD)
    rules = [Rule(tables.DELIVERIES, KEPT), Rule(tables.DEAD_LETTERS, KEPT)]
    ticks = iter(range(1000))

    removed = remover(batch=2, budget_s=20, turn_s=5, clock=lambda: float(next(ticks))).run(rules, NOW)

    assert removed["delivery_delivery"] > 0
    assert removed["delivery_deadletter"] > 0


def test_roll_ups_go_by_their_resolution(subscription: Subscription) -> None:
    for at in (OLD, YOUNG):
        write({(at.replace(second=0), subscription.pk): Cell(subscription.partner_id, attempts=1)})
    roll_up(NOW)
    removed = remover().run([Rule(tables.MINUTES, KEPT), Rule(tables.HOURS, timedelta(days=400))], NOW)
    assert removed == {"delivery_rollup": 1}
    assert Rollup.objects.filter(resolution_s=MINUTE_S).count() == 1
    assert Rollup.objects.filter(resolution_s=HOUR_S).count() == 2


def test_dead_letters_and_operational_events_go_by_their_age(subscription: Subscription) -> None:
    for name, at in (("old", OLD), ("young", YOUNG)):
        DeadLetter.objects.create(source="nats", position=name, body=b"", reason="no", received_at=at)
        OperationalEvent.objects.create(
            kind="breaker.opened", key=name, partner=subscription.partner, title=name, data="{}", created_at=at
        )
    remover().run([Rule(tables.DEAD_LETTERS, KEPT), Rule(tables.OPERATIONAL_EVENTS, KEPT)], NOW)
    assert list(DeadLetter.objects.values_list("position", flat=True)) == ["young"]
    assert list(OperationalEvent.objects.values_list("key", flat=True)) == ["young"]


class TestTheArchiveHook:
    def test_gets_every_row_before_it_is_gone(self, store: Store) -> None:
        old = store.delivery(OLD)
        kept: dict[str, Sequence[Mapping[str, Any]]] = {}
        remover(archive=kept.__setitem__).run(LONG_RULES[1:], NOW)
        assert [row["id"] for row in kept["delivery_delivery"]] == [old.pk]
        assert kept["delivery_event"][0]["data"] == "{}"
        assert kept["delivery_attempt"][0]["latency_ms"] == 5

    def test_keeps_the_rows_when_it_raises(self, store: Store) -> None:
        store.delivery(OLD)

        def full(_table: str, _rows: Sequence[Mapping[str, Any]]) -> None:
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            remover(archive=full).run(LONG_RULES, NOW)
        assert (Delivery.objects.count(), Event.objects.count(), Attempt.objects.count()) == (1, 1, 1)

    def test_is_named_by_a_setting(self, settings: Settings) -> None:
        settings.ARCHIVE_HOOK = "tests.delivery.test_retention.archive"
        assert configured_archive() is archive
        assert check_archive() == []
        settings.ARCHIVE_HOOK = "tests.delivery.test_retention.nothing"
        assert [found.id for found in check_archive()] == ["delivery.E003"]
        settings.ARCHIVE_HOOK = ""
        assert configured_archive() is None


def archive(_table: str, _rows: Sequence[Mapping[str, Any]]) -> None:
    """Named by ARCHIVE_HOOK."""


def test_ages_must_fit_each_other(settings: Settings) -> None:
    assert check_ages() == []
    settings.ATTEMPTS_KEPT_DAYS = settings.EVENTS_KEPT_DAYS + 1
    settings.MINUTES_KEPT_DAYS = 5
    settings.NATS_STREAM_KEPT_DAYS = settings.EVENTS_KEPT_DAYS + 1
    assert [found.id for found in check_ages()] == ["delivery.E001", "delivery.E002", "delivery.W001"]


def test_django_runs_the_checks(settings: Settings) -> None:
    settings.ATTEMPTS_KEPT_DAYS = settings.EVENTS_KEPT_DAYS + 1
    assert "delivery.E001" in {found.id for found in checks.run_checks()}


def test_every_table_has_an_age() -> None:
    names = [rule.table.name for rule in configured_rules()]
    rollups = ["minutes", "ten_minutes", "hours", "six_hours", "days"]
    assert names == ["attempts", "deliveries", "events", *rollups, "dead_letters", "operational_events"]
