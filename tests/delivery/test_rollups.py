"""Roll-ups add up to the attempts, over flushes, processes, minutes and hours."""

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from delivery import stats
from delivery.due import Due
from delivery.histogram import BOUNDS_MS, SIZE, bucket_of, percentile
from delivery.models import Rollup
from delivery.outcomes import ErrorClass, answered, failed
from delivery.recorder import AttemptRecord
from delivery.resolutions import DAY_S, HOUR_S, MINUTE_S, RESOLUTIONS_S, floor, roll_up
from delivery.retries import Step
from delivery.rollups import Rollups
from partners.connections import BoundedConnection
from partners.models import Subscription
from tests.delivery.test_recorder import AT, succeeded
from tests.proxy import Proxy


@given(st.lists(st.floats(0, 24_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_within_the_bucket_of_the_true_one(latencies: list[float], share: float) -> None:
    counts = [0] * SIZE
    for latency in latencies:
        counts[bucket_of(latency)] += 1
    rank = max(1, -(-len(latencies) * share // 1))
    true = sorted(latencies)[int(rank) - 1]
    found = percentile(counts, share)
    assert found is not None
    bounds = (0.0, *BOUNDS_MS)
    index = bucket_of(true)
    assert bounds[index] <= found <= bounds[index + 1]


def test_nothing_counted_has_no_percentile_and_the_longest_are_cut_at_the_last_bound() -> None:
    assert percentile([0] * SIZE, 0.5) is None
    assert percentile([*[0] * (SIZE - 1), 3], 0.5) == BOUNDS_MS[-1]


def record_of(due_: Due, of: Subscription, at: datetime = AT) -> AttemptRecord:
    return replace(succeeded(due_, of), started_at=at, outcome=answered(200, {}, b"", 12.0))


def failure(due_: Due, of: Subscription) -> AttemptRecord:
    outcome = failed(ErrorClass.TIMEOUT, "too slow", 15_000.0)
    return replace(record_of(due_, of), outcome=outcome, step=Step("dead"))


def total(span: stats.Span) -> stats.Stats:
    return stats.summed(stats.overview(span, MINUTE_S).by_time.values())


def hour_of(of: Subscription) -> stats.Span:
    return stats.Span(AT - timedelta(minutes=30), AT + timedelta(minutes=30), subscription_id=of.id)


@pytest.mark.servers
@pytest.mark.django_db
def test_flushes_of_several_processes_add_up(due: Sequence[Due], subscription: Subscription) -> None:
    for process in (Rollups(), Rollups()):
        process.add([record_of(due[0], subscription), failure(due[1], subscription)])
        assert process.flush() == 1
        assert process.flush() == 0
    counted = total(hour_of(subscription))
    assert (counted.attempts, counted.failures, counted.succeeded, counted.dead) == (4, 2, 2, 2)
    assert counted.error_share == 0.5
    assert counted.mean_ms == (12 * 2 + 15_000 * 2) / 4
    assert counted.histogram[bucket_of(12)] == counted.histogram[bucket_of(15_000)] == 2


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_a_flush_gives_up_a_connection_on_which_nobody_answers(
    due: Sequence[Due],
    subscription: Subscription,
    postgres_wire: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 60)
    rollups = Rollups()

    def count(number: int) -> int:
        rollups.add([record_of(due[number], subscription)])
        return rollups.flush()

    def work() -> int:
        try:
            count(0)
            assert isinstance(connection.connection, BoundedConnection)
            connection.connection.longest_wait_s = 0.5
            postgres_wire.strand()
            return count(1)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(work).result(30) == 1
    assert total(hour_of(subscription)).attempts == 2


@pytest.mark.servers
@pytest.mark.django_db
def test_stats_split_by_time_partner_and_subscription(due: Sequence[Due], subscription: Subscription) -> None:
    rollups = Rollups()
    rollups.add([record_of(due[0], subscription), record_of(due[1], subscription, AT + timedelta(minutes=7))])
    rollups.flush()
    span = replace(hour_of(subscription), subscription_id=None)
    found = stats.overview(span, 300)
    assert {at: one.attempts for at, one in found.by_time.items()} == {AT: 1, AT + timedelta(minutes=5): 1}
    assert found.by_partner[subscription.partner_id].attempts == 2
    assert found.by_subscription[subscription.id].attempts == 2
    assert total(replace(span, partner_id="ptr_other")) == stats.NOTHING


@pytest.mark.servers
@pytest.mark.django_db
def test_hours_and_days_are_made_of_minutes_however_often(due: Sequence[Due], subscription: Subscription) -> None:
    rollups = Rollups()
    rollups.add([record_of(due[0], subscription), failure(due[1], subscription)])
    rollups.add([record_of(due[2], subscription, AT + timedelta(minutes=30))])
    rollups.flush()
    roll_up(AT + timedelta(minutes=59))
    assert set(Rollup.objects.values_list("resolution_s", flat=True)) == {60, 600}
    for _ in range(2):
        roll_up(AT + timedelta(minutes=61))
        roll_up(AT + timedelta(days=1))
    for resolution_s in RESOLUTIONS_S[2:]:
        made = Rollup.objects.get(resolution_s=resolution_s)
        assert (made.attempts, made.failures, made.dead, sum(made.histogram)) == (3, 1, 1, 3)
        assert made.starts_at.timestamp() == AT.timestamp() // resolution_s * resolution_s
    assert total(stats.Span(AT - timedelta(days=10), AT + timedelta(days=1))).attempts == 3


@pytest.mark.servers
@pytest.mark.django_db
def test_a_long_span_has_hours_and_the_minutes_since(due: Sequence[Due], subscription: Subscription) -> None:
    def count(at: datetime) -> None:
        rollups = Rollups()
        rollups.add([record_of(due[0], subscription, at)])
        rollups.flush()

    before = AT + timedelta(minutes=59)
    count(before)
    roll_up(AT + timedelta(hours=1))
    since = AT + timedelta(minutes=61)
    count(since)

    span = stats.Span(AT - timedelta(hours=5), AT + timedelta(hours=2))
    by_hour = stats.overview(span, HOUR_S).by_time
    assert {at: one.attempts for at, one in by_hour.items()} == {AT: 1, AT + timedelta(hours=1): 1}
    assert total(span) == stats.summed(stats.overview(span, DAY_S).by_time.values())
    assert total(replace(span, until=AT + timedelta(hours=1))).attempts == 1


@pytest.mark.servers
@pytest.mark.django_db
def test_no_minute_is_counted_twice_or_left_out_whatever_was_made_until_then(
    due: Sequence[Due],
    subscription: Subscription,
) -> None:
    midnight = AT.replace(hour=0)
    made_at = [midnight + timedelta(minutes=minutes) for minutes in (0, 9, 59, 359, 361, 1439, 1441, 1500, 1811, 1825)]
    for count, at in enumerate(made_at, start=1):
        rollups = Rollups()
        rollups.add([record_of(due[0], subscription, at)])
        rollups.flush()
        roll_up(at + timedelta(minutes=1))
        for step_s, begins in itertools.product(RESOLUTIONS_S, (midnight, midnight - timedelta(hours=5, minutes=3))):
            found = stats.overview(stats.Span(begins, midnight + timedelta(days=2)), step_s)
            assert stats.summed(found.by_time.values()).attempts == count, (at, step_s, begins)
    by_day = stats.overview(stats.Span(midnight, midnight + timedelta(days=2)), DAY_S).by_time
    assert [one.attempts for _, one in sorted(by_day.items())] == [6, 4]


def pieces(since: datetime, until: datetime, made: Mapping[int, datetime]) -> list[tuple[int, datetime, datetime]]:
    return list(stats._pieces(since, until, sorted(made.items(), reverse=True)))


MOMENTS = st.integers(0, 4 * 1440).map(lambda minutes: AT + timedelta(minutes=minutes))


@given(MOMENTS, MOMENTS, st.dictionaries(st.sampled_from(RESOLUTIONS_S[1:]), MOMENTS))
def test_a_span_is_read_once_from_whole_rollups_that_exist(
    since: datetime, until: datetime, made: Mapping[int, datetime]
) -> None:
    since, until = sorted((since, until))
    found = pieces(since, until, made)
    assert [begin for _, begin, _ in found] + [until] == [since] + [end for _, _, end in found]
    for resolution_s, begin, end in found:
        assert (floor(begin, resolution_s), floor(end, resolution_s)) == (begin, end)
        assert begin < end <= made.get(resolution_s, until)


def test_a_month_is_read_from_days_and_a_few_finer_rollups() -> None:
    until = AT + timedelta(minutes=7)
    found = pieces(until - timedelta(days=30), until, dict.fromkeys(RESOLUTIONS_S[1:], until))
    assert sum((end - begin) / timedelta(seconds=resolution_s) for resolution_s, begin, end in found) < 29 + 2 * 23


@pytest.mark.servers
@pytest.mark.django_db
def test_what_nobody_rolled_up_for_days_is_made_later(due: Sequence[Due], subscription: Subscription) -> None:
    for days in (0, 3, 5):
        rollups = Rollups()
        rollups.add([record_of(due[0], subscription, AT + timedelta(days=days))])
        rollups.flush()
        if not days:
            roll_up(AT + timedelta(days=1))
    roll_up(AT + timedelta(days=7))
    assert Rollup.objects.filter(resolution_s=DAY_S).count() == 3


@pytest.mark.servers
@pytest.mark.django_db
def test_minutes_that_workers_write_after_an_outage_are_in_the_windows_before_it(
    due: Sequence[Due],
    subscription: Subscription,
) -> None:
    before, waiting = Rollups(), Rollups()
    before.add([record_of(due[0], subscription)])
    before.flush()
    roll_up(AT + timedelta(minutes=61))
    waiting.add([record_of(due[1], subscription, AT + timedelta(minutes=59))])
    waiting.flush()
    roll_up(AT + timedelta(hours=5))
    span = stats.Span(AT, AT + timedelta(hours=1))
    assert stats.overview(span, HOUR_S).by_time[AT].attempts == 2


@pytest.mark.servers
@pytest.mark.django_db
def test_the_sides_of_an_overview_add_up_to_the_same(due: Sequence[Due], subscription: Subscription) -> None:
    rollups = Rollups()
    rollups.add([record_of(due[0], subscription), failure(due[1], subscription)])
    rollups.add([record_of(due[2], subscription, AT + timedelta(minutes=20))])
    rollups.flush()
    span = replace(hour_of(subscription), subscription_id=None)
    found = stats.overview(span, 300)
    assert stats.summed(found.by_time.values()).attempts == 3
    assert stats.summed(found.by_time.values()) == stats.summed(found.by_partner.values())
    assert found.by_subscription == stats.by_subscription(span) == {subscription.id: total(span)}
