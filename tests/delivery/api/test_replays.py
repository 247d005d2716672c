"""Replays of all, failed or missing events: each delivery at most once, in steps that survive crashes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from delivery import replay
from delivery.clocks import database_now
from delivery.due import Due
from delivery.models import Delivery, Event, ReplayJob
from delivery.replayed_events import Position, Row, Wanted, page, settled_until
from delivery.verbs import expunge_event, send_to
from partners import services
from partners.models import Subscription
from tests.api_calls import Caller, caller, is_problem, subscription_of
from tests.delivery.broker.waiting import until
from tests.locks import locked, somebody_waits
from tests.rows import NOON, new_delivery

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

SINCE = "2026-05-01T00:00:00Z"


def happened(number: int, type_: str = "orders.created", data: str = '{"n": 1}', at: int | None = None) -> Event:
    at_ = NOON + timedelta(seconds=number if at is None else at)
    return Event.objects.create(id=f"e{number}", type=type_, occurred_at=at_, received_at=at_, data=data)


def delivered(event: Event, subscription: Subscription, status: str = "succeeded") -> Delivery:
    return new_delivery(subscription, event, status=status, attempt_count=1)


def started(one: Caller, subscription: Subscription, mode: str, updated_at: datetime = NOON) -> dict[str, Any]:
    Subscription.objects.filter(pk=subscription.pk).update(updated_at=updated_at)
    answer = one.post("/replays", {"subscription_id": subscription.pk, "mode": mode, "since": SINCE})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def pending() -> set[str]:
    return set(Delivery.objects.filter(status="pending").values_list("event_id", flat=True))


@pytest.mark.parametrize(
    ("mode", "sent"), [("failed", {"e2"}), ("missing", {"e3", "e4"}), ("all", {"e1", "e2", "e3", "e4"})]
)
def test_a_replay_sends_what_its_mode_says_and_its_count_said(mode: str, sent: set[str]) -> None:
    one = caller()
    subscription = subscription_of(one.partner, event_types=["orders.*", "carts.abandoned", "gift_cards.*"])
    delivered(happened(1), subscription)
    delivered(happened(2), subscription, "dead")
    happened(3)
    happened(4, "carts.abandoned")
    happened(5, "carts.created")
    happened(7, "gift-cards.created")
    happened(-100_000)
    expunge_event(happened(6))
    body = {"subscription_id": subscription.pk, "mode": mode, "since": SINCE}
    assert one.post("/replays/estimate", body).json() == {"count": len(sent), "is_exact": True}

    job = started(one, subscription, mode)
    assert replay.run_replays() == len(sent)

    ended = one.get(f"/replays/{job['id']}").json()
    assert (ended["status"], ended["queued"], ended["skipped"], ended["total"]) == ("done", len(sent), 0, len(sent))
    assert pending() == sent


def test_a_span_of_time_has_its_first_moment_and_not_its_last() -> None:
    wanted = Wanted(subscription_of(caller().partner), "missing", NOON, NOON + timedelta(seconds=2))
    for number in range(3):
        happened(number)
    rows, _ = page(wanted, (NOON, ""))
    assert [row.event_id for row in rows] == ["e0", "e1"]
    assert replay.estimate(wanted).count == 2


def test_each_delivery_is_sent_at_most_once_however_many_steps() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    for number in range(5):
        delivered(happened(number), subscription, "dead")
    job = started(one, subscription, "failed")

    due: list[Due] = []
    while found := replay.step(job["id"], partial(page, size=2)):
        due += found
        Delivery.objects.filter(status="pending").update(status="dead", next_attempt_at=None, finished_at=NOON)

    assert len(due) == len({one.delivery_id for one in due}) == 5
    assert {one.attempt for one in due} == {2}
    assert ReplayJob.objects.get().status == "done"


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_being_stored_is_not_missed() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    storing = 'INSERT INTO delivery_event SELECT (jsonb_populate_record(e, \'{"id": "e2"}\')).* FROM delivery_event e'
    happened(1)
    with locked(f"{storing}; UPDATE delivery_event SET received_at = now() WHERE id = 'e2'", commits=True):
        happened(3)
        job = started(one, subscription, "missing")
        assert len(replay.step(job["id"]) or ()) == 2
        assert replay.step(job["id"]) == []
    assert replay.run_replays() == 1
    assert pending() == {"e1", "e2", "e3"}
    assert ReplayJob.objects.get().status == "done"


@pytest.mark.django_db(transaction=True)
def test_what_an_insert_that_still_waits_will_store_is_not_settled() -> None:
    """It has no transaction id yet."""

    def store() -> None:
        try:
            happened(1)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with locked("LOCK delivery_event IN SHARE MODE"):
            storing = thread.submit(store)
            until(somebody_waits, "it waits")
            waits = database_now()
            assert settled_until() < waits
        storing.result(30)
    assert settled_until() > waits


def test_what_is_still_routed_without_a_subscription_that_was_just_enabled_is_not_missed() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    job = started(one, subscription, "missing", database_now())
    Event.objects.create(id="e1", type="orders.created", occurred_at=NOON, received_at=database_now(), data="{}")

    assert replay.run_replays() == 1

    assert pending() == {"e1"}
    assert one.get(f"/replays/{job['id']}").json()["status"] == "running"
    ReplayJob.objects.update(until=database_now())
    replay.run_replays()
    assert ReplayJob.objects.get().status == "done"


def test_an_event_that_was_removed_meanwhile_gets_no_delivery() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    happened(1)
    removed = happened(2)
    job = started(one, subscription, "missing")

    def page_and_removal(wanted: Wanted, after: Position) -> tuple[list[Row], Position | None]:
        found = page(wanted, after)
        removed.delete()
        return found

    replay.step(job["id"], page_and_removal)

    assert pending() == {"e1"}


def test_an_event_that_was_delivered_meanwhile_is_not_delivered_twice() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    event = happened(1)
    job = started(one, subscription, "missing")

    def page_and_delivery(wanted: Wanted, after: Position) -> tuple[list[Row], Position | None]:
        found = page(wanted, after)
        delivered(event, subscription)
        return found

    assert replay.step(job["id"], page_and_delivery) == []

    assert Delivery.objects.get().status == "succeeded"
    assert ReplayJob.objects.get().skipped == 1


@pytest.mark.parametrize(("mode", "sent"), [("failed", {"e11", "e22"}), ("missing", {"e12", "e20"})])
def test_a_step_looks_at_a_few_events_however_rare_the_wanted_ones_are(mode: str, sent: set[str]) -> None:
    one = caller()
    subscription = subscription_of(one.partner, event_types=["orders.created"])
    for number in range(25):
        at = 12 if number == 13 else number  # two events at the same time
        event = happened(number, "orders.created" if number in {11, 12, 20, 22} else "carts.created", at=at)
        if number in {11, 22}:
            delivered(event, subscription, "dead")
    job = started(one, subscription, mode)

    counts = []
    while (found := replay.step(job["id"], partial(page, size=2, look_at=3))) is not None:
        counts.append(len(found))

    assert pending() == sent
    assert len(counts) == 9
    ended = ReplayJob.objects.get()
    assert (ended.status, ended.queued, ended.skipped) == ("done", 2, 0)


def test_a_filter_that_takes_long_is_asked_about_a_few_events_in_a_step() -> None:
    one = caller()
    subscription = subscription_of(one.partner, filter="$.data[?(@.n == 1)]")
    for number in range(3):
        happened(number)
    job = started(one, subscription, "missing")

    counts = [len(replay.step(job["id"], filter_s=-1) or ()) for _ in range(3)]

    assert counts == [1, 1, 1]
    assert pending() == {"e0", "e1", "e2"}


def test_a_replay_whose_filter_does_not_compile_fails_and_holds_no_other_up() -> None:
    one, another = caller(), caller()
    broken = subscription_of(one.partner)
    happened(1)
    job = started(one, broken, "missing")
    Subscription.objects.filter(pk=broken.pk).update(filter="$.data[?(")
    other = started(another, subscription_of(another.partner), "missing")

    assert replay.run_replays() == 1

    failed = one.get(f"/replays/{job['id']}").json()
    assert failed["status"] == "failed"
    assert failed["reason"].startswith("the subscription's filter: ")
    assert another.get(f"/replays/{other['id']}").json()["status"] == "done"


def test_a_partner_with_many_replays_does_not_hold_up_those_of_others() -> None:
    one, another = caller(), caller()
    for owner in [one] * 10 + [another] * 2:
        started(owner, subscription_of(owner.partner), "missing")

    owners = [partner_id for _, partner_id in replay.in_turns()]

    assert len(owners) == 12
    assert [set(owners[:2]), set(owners[2:4])] == [{one.partner.pk, another.partner.pk}] * 2


def test_a_replay_that_takes_long_takes_one_step_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one = caller()
    subscription = subscription_of(one.partner, filter="$.data[?(@.n == 1)]")
    for number in range(3):
        happened(number)
    started(one, subscription, "missing")
    monkeypatch.setattr(replay, "step", partial(replay.step, filter_s=-1))
    monkeypatch.setattr(replay, "JOB_WITHIN_S", -1)

    assert [replay.run_replays() for _ in range(3)] == [1, 1, 1]


def test_the_filter_is_asked_and_what_waits_is_left_alone() -> None:
    one = caller()
    subscription = subscription_of(one.partner, filter="$.data[?(@.n > 1)]")
    happened(1)
    happened(2, data='{"n": 2}')
    waiting = delivered(happened(3, data='{"n": 3}'), subscription, "pending")

    job = started(one, subscription, "all")
    replay.run_replays()

    ended = one.get(f"/replays/{job['id']}").json()
    assert (ended["queued"], ended["skipped"], job["is_total_exact"]) == (1, 1, False)
    waiting.refresh_from_db()
    assert waiting.next_attempt_at == NOON


def test_the_filter_is_not_asked_about_deliveries_that_failed() -> None:
    one = caller()
    subscription = subscription_of(one.partner, filter="$.data.nothing")
    delivered(happened(1), subscription, "dead")

    job = started(one, subscription, "failed")
    replay.run_replays()

    assert job["is_total_exact"]
    assert pending() == {"e1"}


def test_events_for_one_subscription_alone_are_nobody_elses() -> None:
    one = caller()
    send_to(subscription_of(one.partner), "orders.created", "{}", "recart-hooks:test")
    job = started(one, subscription_of(one.partner), "missing")

    assert (job["total"], replay.run_replays()) == (0, 0)


def test_a_canceled_replay_queues_nothing_more() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    happened(1)
    job = started(one, subscription, "missing")

    canceled = one.post(f"/replays/{job['id']}/cancel").json()
    again = one.post(f"/replays/{job['id']}/cancel").json()

    assert (canceled["status"], again["finished_at"]) == ("canceled", canceled["finished_at"])
    assert replay.run_replays() == 0
    assert pending() == set()


def test_a_replay_waits_while_the_queue_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    one = caller()
    happened(1)
    started(one, subscription_of(one.partner), "missing")
    monkeypatch.setattr(replay, "ROOM", 0)

    assert replay.run_replays() == 0
    assert ReplayJob.objects.get().status == "running"


def test_a_replay_waits_while_the_broker_is_away(broker_away: None) -> None:
    one = caller()
    happened(1)
    started(one, subscription_of(one.partner), "missing")

    assert replay.run_replays() == 0
    assert ReplayJob.objects.get().status == "running"


def test_the_subscription_for_operational_events_has_no_replays() -> None:
    one = caller()
    services.update_partner(one.partner, {"operational_url": "https://hooks.example.com/trouble"})
    subscription = services.operational_subscription(one.partner)
    assert subscription

    body = {"subscription_id": subscription.pk, "mode": "all", "since": SINCE}
    refused = one.post("/replays", body)
    assert is_problem(refused, 409, "not_replayable")
    assert refused.json()["detail"].startswith("operational events are not replayed")


def test_a_replay_of_a_disabled_subscription_fails() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    happened(1)
    started(one, subscription, "missing")
    services.disable_subscription(subscription, "partner")

    assert replay.run_replays() == 0
    assert (ReplayJob.objects.get().status, ReplayJob.objects.get().reason) == (
        "failed",
        "the subscription was disabled",
    )
    body = {"subscription_id": subscription.pk, "mode": "all", "since": SINCE}
    refused = one.post("/replays", body)
    assert is_problem(refused, 409, "not_replayable")
    assert refused.json()["detail"] == "the subscription is disabled: enable it first"


def test_there_is_one_replay_of_a_subscription_at_a_time() -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    started(one, subscription, "all")

    body = {"subscription_id": subscription.pk, "mode": "all", "since": SINCE}
    assert is_problem(one.post("/replays", body), 409, "not_replayable")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"mode": "some"}, "#/mode"),
        ({"since": "2999-01-01T00:00:00Z"}, "#/since"),
        ({"until": "2020-01-01T00:00:00Z"}, "#/since"),
        ({"since": None}, "#/since"),
        ({"speed": 1}, "#/speed"),
    ],
)
def test_what_is_wrong_with_a_replay_is_said_with_its_place(change: dict[str, Any], place: str) -> None:
    one = caller()
    body = {"subscription_id": subscription_of(one.partner).pk, "mode": "all", "since": SINCE, **change}

    assert is_problem(one.post("/replays", body), 400, "invalid", place)
    assert not ReplayJob.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_subscription_is_not_locked_while_a_replay_of_it_is_counted() -> None:
    subscription = subscription_of(caller().partner)
    wanted = Wanted(subscription, "missing", NOON, NOON + timedelta(hours=1))

    def start() -> ReplayJob:
        try:
            return replay.start_replay(wanted)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with locked("LOCK delivery_event"):
            starting = thread.submit(start)
            until(somebody_waits, "it counts")
            with transaction.atomic():
                assert Subscription.objects.select_for_update(nowait=True).get(pk=subscription.pk)
        assert starting.result(30).status == "running"
