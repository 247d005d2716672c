"""The commands for operators, with a real database and broker."""

import getpass
import io
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from delivery import draining, publish
from delivery.broker import FairQueues
from delivery.due import Due, FanOutDue
from delivery.limits import push_limits
from delivery.management.arguments import moment
from delivery.management.commands import requeue
from delivery.models import Attempt, Delivery, FanOut, ReplayJob
from delivery.reconcile import look_back, reconcile
from partners import services
from partners.identifiers import DELIVERY, first_id
from partners.models import AuditEntry, Subscription
from tests import rows
from tests.delivery.broker.manual_worker import ManualWorker
from tests.delivery.broker.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers, pytest.mark.usefixtures("queues")]


@pytest.fixture
def subscription() -> Subscription:
    partner = services.create_partner("Awesome Reviews", max_in_flight=8)
    made = services.create_subscription(partner, "https://hooks.example.com/in", ["orders.*"])
    push_limits()
    return made


def run(*arguments: object) -> str:
    out = io.StringIO()
    call_command(*[str(one) for one in arguments], stdout=out, stderr=io.StringIO())
    return out.getvalue()


def new_delivery(subscription: Subscription, status: str = "pending", errors: tuple[str, ...] = ()) -> Delivery:
    """A delivery with an attempt for each of `errors`; due for two minutes if it is pending."""
    now, last_error = timezone.now(), errors[-1] if errors else ""
    delivery = rows.new_delivery(
        subscription, at=now - timedelta(minutes=2), status=status, attempt_count=len(errors), last_error=last_error
    )
    for number, error in enumerate(errors, start=1):
        status_code = None if error else 200
        delivery.attempts.create(
            number=number, started_at=now, latency_ms=5, status_code=status_code, error=error, detail=error
        )
    return delivery


def due(delivery: Delivery, at: float | None = None) -> Due:
    return Due(delivery.pk, delivery.attempt_count + 1, delivery.partner_id, delivery.event_type, at)


def state(delivery: Delivery) -> tuple[str, str]:
    delivery.refresh_from_db()
    return delivery.status, delivery.last_error


class TestRequeue:
    def test_the_dead_of_a_partner_are_tried_again(self, subscription: Subscription, queues: FairQueues) -> None:
        dead, ended = new_delivery(subscription, "dead", ("timeout",)), new_delivery(subscription, "succeeded", ("",))

        assert run("requeue", "--partner", subscription.partner_id) == "requeued 1 delivery\n"

        assert (state(dead)[0], state(ended)[0]) == ("pending", "succeeded")
        assert queues.missing(publish.queue_of(dead.partner_id), [due(dead).message_id]) == []

    def test_a_dry_run_says_how_many_and_changes_nothing(self, subscription: Subscription) -> None:
        dead = [new_delivery(subscription, "dead", ("timeout",)) for _ in range(3)]

        assert run("requeue", "--since", "1h", "--dry-run") == "would requeue 3 deliveries\n"
        assert run("requeue", "--since", "1h", "--dry-run", "--limit", 2) == "would requeue 2 deliveries\n"
        assert run("requeue", "--since", "1h", "--error", "refused", "--dry-run") == "would requeue 0 deliveries\n"
        assert run("requeue", "--since", "1h", "--until", "10m", "--dry-run") == "would requeue 0 deliveries\n"
        assert {state(one)[0] for one in dead} == {"dead"}

    def test_many_are_requeued_page_by_page_up_to_a_limit(
        self, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(requeue, "_PAGE", 2)
        dead = sorted((new_delivery(subscription, "dead", ("timeout",)) for _ in range(7)), key=lambda one: one.pk)

        assert run("requeue", *(one.pk for one in dead), "--limit", 5) == "requeued 5 deliveries\n"

        assert [state(one)[0] for one in dead] == ["pending"] * 5 + ["dead"] * 2

    def test_what_cannot_be_tried_is_left_with_the_reason(self, subscription: Subscription) -> None:
        dead = new_delivery(subscription, "dead", ("timeout",))
        services.disable_subscription(subscription, "staff")

        said = run("requeue", dead.pk)

        assert said == "requeued 0 deliveries\nleft 1: its subscription is disabled: enable it first\n"

    def test_it_refuses_ids_of_no_delivery(self) -> None:
        with pytest.raises(CommandError, match="there is no delivery evt_1"):
            run("requeue", "evt_1")

    def test_everything_is_too_much(self) -> None:
        with pytest.raises(CommandError, match="at least one of"):
            run("requeue")

    @pytest.mark.parametrize("limit", ["-1", "0", "many"])
    def test_a_limit_is_a_whole_number(self, limit: str) -> None:
        with pytest.raises(CommandError, match="is not a whole number"):
            run("requeue", "--since", "1d", "--limit", limit)


class TestReplay:
    def test_it_starts_a_job_which_can_be_canceled(self, subscription: Subscription) -> None:
        new_delivery(subscription, "dead", ("timeout",))

        assert run("replay", subscription.pk, "--since", "1h", "--dry-run") == "would replay 1 delivery\n"
        assert (
            run("replay", subscription.pk, "--since", "1h", "--until", "10m", "--dry-run")
            == "would replay 0 deliveries\n"
        )
        assert not ReplayJob.objects.exists()
        assert "replays 1 delivery" in run("replay", subscription.pk, "--since", "1h", "--no-wait")
        with pytest.raises(CommandError, match="a replay of this subscription is running"):
            run("replay", subscription.pk, "--since", "1h", "--no-wait")
        assert "is canceled" in run("replay", subscription.pk, "--cancel")
        assert ReplayJob.objects.get().status == "canceled"
        with pytest.raises(CommandError, match="no replay of this subscription is running"):
            run("replay", subscription.pk, "--cancel")

    def test_an_unknown_subscription_is_an_error(self) -> None:
        with pytest.raises(CommandError, match="there is no subscription"):
            run("replay", "sub_unknown", "--since", "1h")


class TestDrain:
    def test_what_waits_is_given_up_and_the_queue_is_empty(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        ready, delayed = new_delivery(subscription), new_delivery(subscription, errors=("timeout",))
        publish.publish([due(ready), due(delayed, timezone.now().timestamp() + 3600)])

        assert run("drain", subscription.partner_id, "--until", later(), "--dry-run") == "would give up 2 deliveries\n"
        assert run("drain", subscription.partner_id, "--until", later()) == "gave up 2 deliveries\n"

        given_up = ("dead", "given up: the queue was drained")
        assert (state(ready), state(delayed)) == (given_up, given_up)
        assert queues.size(publish.queue_of(subscription.partner_id)) == 0
        change = AuditEntry.objects.get(action="partner.drain")
        assert (change.actor_kind, change.actor_name) == ("staff", f"{getpass.getuser()}, command line")
        assert run("verify") == "all invariants hold\n"
        assert "would replay 2" in run("replay", subscription.pk, "--since", "1h", "--dry-run")

    def test_what_was_created_later_is_kept(self, subscription: Subscription) -> None:
        kept = new_delivery(subscription)
        assert run("drain", subscription.partner_id, "--until", "1h") == "gave up 0 deliveries\n"
        assert state(kept)[0] == "pending"

    def test_a_page_is_found_by_the_index_of_pending_deliveries(self, subscription: Subscription) -> None:
        values = draining._values(subscription.partner, timezone.now(), "")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {draining._GIVE_UP}", values)
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "using delivery_pending" in plan

    def test_another_subscription_of_the_partner_keeps_what_waits(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        other = services.create_subscription(subscription.partner, "https://hooks.example.com/other", ["*"])
        kept, scheduled = new_delivery(other), new_delivery(other, errors=("timeout",))
        later_at = timezone.now() + timedelta(hours=1)
        Delivery.objects.filter(pk=scheduled.pk).update(next_attempt_at=later_at)
        given_up = new_delivery(subscription)
        publish.publish([due(kept), due(scheduled, later_at.timestamp()), due(given_up)])

        run("drain", subscription.partner_id, "--subscription", subscription.pk, "--until", later())

        stats = queues.stats([publish.queue_of(kept.partner_id)])[publish.queue_of(kept.partner_id)]
        assert (state(kept)[0], state(scheduled)[0], state(given_up)[0]) == ("pending", "pending", "dead")
        assert (stats.ready, stats.delayed) == (1, 1)

    def test_the_retry_of_an_attempt_in_progress_is_removed(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        under_way, waiting = new_delivery(subscription), new_delivery(subscription)
        publish.publish([due(under_way), due(waiting)])
        worker, queue = ManualWorker(queues.client), publish.queue_of(under_way.partner_id)
        (leased,) = worker.exchange(1).messages

        def drain() -> str:
            try:
                return run("drain", subscription.partner_id, "--until", later())
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as thread:
            draining = thread.submit(drain)
            until(lambda: not queues.stats([queue])[queue].ready, "what waits is removed")
            publish.publish([replace(due(under_way, timezone.now().timestamp() + 3600), attempt=2)])
            worker.exchange(0, ("ack", leased))
            assert draining.result(30) == "gave up 2 deliveries\n"
        assert queues.size(queue) == 0

    def test_deliveries_that_are_still_to_be_made_are_given_up_with_the_whole_queue_only(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        event = new_delivery(subscription).event
        fan_out = FanOut.objects.create(
            event=event, partner=subscription.partner, event_type=event.type, created_at=timezone.now()
        )
        queue = publish.queue_of(subscription.partner_id)
        publish.publish([FanOutDue(fan_out.pk, subscription.partner_id, event.type)])

        run("drain", subscription.partner_id, "--subscription", subscription.pk, "--until", later())
        assert queues.missing(queue, [FanOutDue(fan_out.pk, subscription.partner_id, event.type).message_id]) == []
        new_delivery(subscription)
        assert run("drain", subscription.partner_id, "--until", later(), "--dry-run") == "would give up 2 deliveries\n"
        assert run("drain", subscription.partner_id, "--until", later()) == "gave up 2 deliveries\n"
        assert (FanOut.objects.count(), queues.size(queue)) == (0, 0)


class TestReconcile:
    def test_what_the_broker_does_not_hold_is_queued(self, subscription: Subscription, queues: FairQueues) -> None:
        held, lost = new_delivery(subscription), new_delivery(subscription)
        publish.publish([due(held)])

        assert run("reconcile", "--dry-run", "--grace", 600) == "would queue 0 of 0 overdue deliveries\n"
        assert run("reconcile", "--dry-run") == "would queue 1 of 2 overdue deliveries\n"
        assert run("reconcile") == "queued 1 of 2 overdue deliveries\n"
        assert run("reconcile") == "queued 0 of 2 overdue deliveries\n"
        assert queues.missing(publish.queue_of(lost.partner_id), [due(lost).message_id]) == []

    def test_a_wiped_broker_is_filled_with_what_is_scheduled_too(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        scheduled = new_delivery(subscription, errors=("timeout",))
        Delivery.objects.filter(pk=scheduled.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
        queues.client.flushdb()

        assert "would queue 0" in run("reconcile", "--dry-run")
        assert queues.was_wiped()
        assert "the broker was wiped: queued 1" in run("reconcile")
        assert not queues.was_wiped()
        assert queues.size(publish.queue_of(scheduled.partner_id)) == 1

    def test_what_is_lost_is_found_however_much_is_overdue(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        backlog = [new_delivery(subscription) for _ in range(12)]
        oldest, middle, newest = backlog[0], backlog[5], backlog[-1]
        publish.publish(due(one) for one in backlog if one not in {oldest, middle, newest})

        runs = [self.look_back(queues) for _ in range(5)]

        assert runs[0] == [newest.pk]
        assert sorted(found for run in runs for found in run) == [oldest.pk, middle.pk, newest.pk]
        assert all(self.look_back(queues) == [] for _ in range(5))

    def test_after_the_oldest_it_begins_with_the_newest_again(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        backlog = [new_delivery(subscription) for _ in range(9)]
        for lost in (backlog[0], backlog[4], backlog[0]):
            queues.purge(publish.queue_of(lost.partner_id))
            publish.publish(due(one) for one in backlog if one != lost)

            assert lost.pk in [found for _ in range(8) for found in self.look_back(queues)]

    def look_back(self, queues: FairQueues) -> list[str]:
        """Makes one run with pages of two deliveries."""
        found = []
        for looked_at, lost in look_back(queues, size=2):
            assert looked_at <= 2
            publish.publish(lost, queues)
            found += [one.delivery_id for one in lost if isinstance(one, Due)]
        return sorted(found)

    def test_limits_that_were_not_written_are_written(self, subscription: Subscription, queues: FairQueues) -> None:
        queue = publish.queue_of(subscription.partner_id)
        queues.configure(queue, max_in_flight=9, paused_until=math.inf)

        reconcile(queues)

        assert (queues.limits(queue).max_in_flight, queues.limits(queue).paused_until) == (8, None)


@pytest.fixture
def partner_without_broker(subscription: Subscription, broker_away: None) -> str:
    """The id of a partner that was made before the broker went away."""
    return subscription.partner_id


@pytest.mark.parametrize("command", ["verify", "reconcile", "drain"])
def test_a_broker_that_is_away_is_told_in_a_line(command: str, partner_without_broker: str) -> None:
    with pytest.raises(CommandError, match=r"Valkey cannot do this now: .*Connection refused"):
        run(command, *([partner_without_broker] if command == "drain" else []))


def test_a_reader_that_has_seen_enough_is_no_error(subscription: Subscription) -> None:
    delivery = new_delivery(subscription)
    reader, writer = os.pipe()
    os.close(reader)

    with open(writer, "wb", buffering=0) as out, pytest.raises(SystemExit) as ended:
        call_command("inspect", delivery.pk, stdout=io.TextIOWrapper(out, write_through=True))

    assert ended.value.code == 141


class TestVerify:
    def test_a_whole_system_has_nothing_broken(self, subscription: Subscription) -> None:
        new_delivery(subscription, "succeeded", ("timeout", ""))
        new_delivery(subscription, "dead", ("timeout",))
        publish.publish([due(new_delivery(subscription))])

        assert run("verify", "--since", "3h") == "all invariants hold\n"

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            ("UPDATE delivery_attempt SET number = 7 WHERE number = 2", "attempts are numbered"),
            ("DELETE FROM delivery_attempt WHERE number = 1", "attempts are numbered"),
            ("UPDATE delivery_attempt SET error = 'timeout'", "a succeeded delivery's last attempt succeeded"),
            ("UPDATE delivery_delivery SET status = 'dead'", "a dead delivery says why"),
        ],
    )
    def test_a_broken_row_is_told_with_its_delivery(self, subscription: Subscription, damage: str, said: str) -> None:
        delivery = new_delivery(subscription, "succeeded", ("timeout", ""))
        with connection.cursor() as cursor:
            cursor.execute(damage)

        out = io.StringIO()
        with pytest.raises(CommandError, match="broken"):
            call_command("verify", "--no-broker", stdout=out, stderr=io.StringIO())

        assert said in out.getvalue()
        assert delivery.pk in out.getvalue()

    def test_deliveries_whose_attempts_have_been_removed_are_not_checked(
        self, subscription: Subscription, settings: Any
    ) -> None:
        settings.ATTEMPTS_KEPT_DAYS = 2
        old = first_id(DELIVERY, timezone.now() - timedelta(days=2))
        rows.new_delivery(subscription, id=old, status="succeeded", attempt_count=1)
        assert run("verify", "--since", "3d") == "all invariants hold\n"

    def test_a_delivery_of_another_partner_is_told(self, subscription: Subscription) -> None:
        Delivery.objects.filter(pk=new_delivery(subscription, "dead", ("timeout",)).pk).update(
            partner=services.create_partner("Other")
        )

        self.fails_with("belongs to its subscription's partner", "--no-broker")

    def test_a_delivery_that_the_broker_lost_is_told(self, subscription: Subscription) -> None:
        lost = new_delivery(subscription)

        self.fails_with(f"{lost.pk}:1")

    def test_a_limit_that_was_not_written_is_told(self, subscription: Subscription, queues: FairQueues) -> None:
        queues.configure(publish.queue_of(subscription.partner_id), max_in_flight=9)

        self.fails_with(subscription.partner_id)

    def test_a_pause_that_nobody_wants_any_more_is_told(self, subscription: Subscription, queues: FairQueues) -> None:
        queues.pause(publish.queue_of(subscription.partner_id))

        self.fails_with(subscription.partner_id)

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("fair:due:partner.*", "1 messages wait, and it is not in line"),
            ("fair:known:{queue}", "0 ids for 1 ready, 0 delayed and 0 leased messages"),
        ],
    )
    def test_a_message_that_nobody_will_serve_is_told(
        self, subscription: Subscription, queues: FairQueues, key: str, said: str
    ) -> None:
        queue = publish.queue_of(subscription.partner_id)
        publish.publish([due(new_delivery(subscription))])
        queues.client.delete(key.format(queue=queue))

        self.fails_with(said)

    def test_a_lease_of_nobody_is_told(self, subscription: Subscription, queues: FairQueues) -> None:
        publish.publish([due(new_delivery(subscription))])
        queues.scripts.run("exchange", "gone", 1, 10, 10, "")
        queues.client.delete("fair:workers:partner.*")

        self.fails_with("1 leases of workers that are not known")

    def test_a_wrong_number_of_leases_is_told(self, subscription: Subscription, queues: FairQueues) -> None:
        queue = publish.queue_of(subscription.partner_id)
        publish.publish([due(new_delivery(subscription))])
        queues.client.hset("fair:counts:partner.*", queue, 7)

        self.fails_with("0 leases, and 7 are counted")

    def fails_with(self, words: str, *arguments: str) -> None:
        out = io.StringIO()
        with pytest.raises(CommandError, match="broken"):
            call_command("verify", *arguments, stdout=out, stderr=io.StringIO())
        assert words in out.getvalue()


class TestInspect:
    def test_a_delivery_tells_its_whole_story(self, subscription: Subscription, queues: FairQueues) -> None:
        delivery = new_delivery(subscription, errors=("timeout",))
        Attempt.objects.update(worker="w1", detail="no answer within 15 s")
        publish.publish([due(delivery)])
        queues.scripts.run("exchange", "w2", 1, 10, 10, "")

        told = run("inspect", delivery.pk)

        for part in (
            f"event {delivery.event_id}: orders.created",
            f"delivery {delivery.pk}: pending after 1 attempt",
            "attempt 1: timeout: no answer within 15 s in 5 ms by w1",
            "attempt 2 is due",
            "broker: leased to w2; its queue: 0 ready, 0 delayed, 1 in flight",
            "https://hooks.example.com/in",
        ):
            assert part in told

    def test_a_delivery_tells_that_it_waits_for_the_rate_limit(
        self, subscription: Subscription, queues: FairQueues
    ) -> None:
        first, second = new_delivery(subscription), new_delivery(subscription)
        queues.configure(publish.queue_of(subscription.partner_id), rate="1/h", burst=1)
        publish.publish([due(first), due(second)])

        assert "the rate limit is used up" not in run("inspect", second.pk)
        queues.scripts.run("exchange", "w2", 1, 10, 10, "")
        assert "the rate limit is used up" in run("inspect", second.pk)

    def test_an_event_tells_of_all_its_deliveries(self, subscription: Subscription) -> None:
        delivery = new_delivery(subscription, "dead", ("timeout",))

        told = run("inspect", delivery.event_id)

        assert "deliveries: 1" in told
        assert f"delivery {delivery.pk}: dead after 1 attempt" in told

    def test_what_is_not_there_is_an_error(self) -> None:
        with pytest.raises(CommandError, match="there is no delivery"):
            run("inspect", "dlv_unknown")


def test_a_moment_is_an_age_or_a_time() -> None:
    assert abs(moment("90m") - (datetime.now(UTC) - timedelta(minutes=90))) < timedelta(seconds=5)
    assert moment("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for text in ("yesterday", "2026-01-02T03:04:05", "3w"):
        with pytest.raises(Exception, match="is neither an age"):
            moment(text)
    for text in ("99999999999d", "1000000d", "9999-12-31T23:59:59-12:00"):
        with pytest.raises(Exception, match="is not within the years"):
            moment(text)


def later() -> str:
    """A time after the deliveries that this test has just created: ids contain milliseconds."""
    return (timezone.now() + timedelta(minutes=1)).isoformat()
