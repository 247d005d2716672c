"""What follows an attempt."""

import itertools
import random as random_module
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from delivery.outcomes import ErrorClass, Outcome, answered, failed
from delivery.retries import DEFAULT_SCHEDULE_S, JITTER, LONGEST_DELAY_S, Step, decide, parse_retry_after

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
CAP_S = 3600.0
SCHEDULE = (5.0, 60.0, 600.0)


def middle() -> float:
    """The random number for which a delay is exactly that of the schedule."""
    return 0.5


def after(outcome: Outcome, attempt: int = 1, *, random: float = 0.5) -> Step:
    return decide(outcome, attempt, SCHEDULE, CAP_S, NOW, lambda: random)


def answer(status: int, **headers: str) -> Outcome:
    return answered(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"", 1.0)


def test_the_default_schedule_runs_from_5_s_to_10_h_over_about_3_days() -> None:
    assert DEFAULT_SCHEDULE_S[0] == 5
    assert DEFAULT_SCHEDULE_S[-1] == LONGEST_DELAY_S == 36_000
    assert list(DEFAULT_SCHEDULE_S) == sorted(DEFAULT_SCHEDULE_S)
    assert 2.9 < sum(DEFAULT_SCHEDULE_S) / 86_400 < 3.2


def test_the_default_schedule_is_exponential_until_its_longest_delay() -> None:
    growing = [delay for delay in DEFAULT_SCHEDULE_S if delay < LONGEST_DELAY_S]
    assert {later / earlier for earlier, later in itertools.pairwise(growing)} == {3.0}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_a_2xx_is_a_success(status: int) -> None:
    assert after(answer(status)) == Step("succeeded")


@pytest.mark.parametrize("attempt", [1, 4, 99])
def test_a_success_on_any_attempt_is_a_success(attempt: int) -> None:
    assert after(answer(200), attempt) == Step("succeeded")


@pytest.mark.parametrize(("attempt", "delay_s"), [(1, 5.0), (2, 60.0), (3, 600.0)])
def test_each_failure_is_followed_after_the_next_delay(attempt: int, delay_s: float) -> None:
    assert after(answer(500), attempt) == Step("pending", delay_s)


@pytest.mark.parametrize("attempt", [4, 5, 100])
def test_the_failure_of_the_last_attempt_or_of_one_beyond_it_is_final(attempt: int) -> None:
    assert after(answer(500), attempt) == Step("dead")


def test_an_empty_schedule_has_one_attempt() -> None:
    assert decide(answer(500), 1, (), CAP_S, NOW, middle) == Step("dead")


@pytest.mark.parametrize("error", sorted(set(ErrorClass) - {ErrorClass.TRANSFORM, ErrorClass.DISABLED}))
def test_every_error_class_that_may_pass_is_retried(error: ErrorClass) -> None:
    assert after(failed(error, "…")) == Step("pending", 5.0)


@pytest.mark.parametrize("status", [301, 302, 304, 400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 999])
def test_every_other_status_is_retried(status: int) -> None:
    assert after(answer(status)) == Step("pending", 5.0)


def test_a_transformation_that_fails_will_fail_again_and_is_dead_at_once() -> None:
    assert after(failed(ErrorClass.TRANSFORM, "no such path")) == Step("dead")


@pytest.mark.parametrize("attempt", [1, 4])
def test_a_410_disables_the_subscription_and_the_delivery_is_dead_at_once(attempt: int) -> None:
    assert after(answer(410), attempt) == Step("dead", disable="gone")


def test_a_410_with_an_endless_body_is_a_410_all_the_same() -> None:
    assert after(failed(ErrorClass.TOO_LARGE, "…", status_code=410)) == Step("dead", disable="gone")


@pytest.mark.parametrize(("random", "delay_s"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_delays_are_spread_by_a_fifth_to_both_sides(random: float, delay_s: float) -> None:
    assert after(answer(500), random=random).delay_s == pytest.approx(delay_s)
    assert JITTER == 0.2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_lengthens_the_delay(status: int) -> None:
    assert after(answer(status, retry_after="120")) == Step("pending", 120.0)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_as_a_date_lengthens_the_delay(status: int) -> None:
    when = format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)
    assert after(answer(status, retry_after=when)) == Step("pending", 90.0)


def test_retry_after_never_shortens_a_delay() -> None:
    assert after(answer(429, retry_after="1"), attempt=3) == Step("pending", 600.0)
    assert after(answer(429, retry_after="0"), attempt=3) == Step("pending", 600.0)


@pytest.mark.parametrize("asked", ["3601", "86400", "9" * 500, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_lengthens_a_delay_to_the_cap_at_most(asked: str) -> None:
    assert after(answer(429, retry_after=asked)) == Step("pending", CAP_S)


def test_a_cap_below_the_schedule_does_not_shorten_the_schedule() -> None:
    assert decide(answer(429, retry_after="900"), 3, SCHEDULE, 10.0, NOW, middle) == Step("pending", 600.0)


def test_retry_after_does_not_change_the_count_of_attempts() -> None:
    assert after(answer(429, retry_after="120"), attempt=4) == Step("dead")


@pytest.mark.parametrize("status", [200, 301, 400, 404, 500, 502])
def test_retry_after_counts_for_429_and_503_only(status: int) -> None:
    assert after(answer(status, retry_after="120")).delay_s in {None, 5.0}


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "1e3", "inf", "nan", "٣", "Mon, 99 Foo 2026", "12:00", "\0", "1,5"]
)
def test_a_retry_after_that_makes_no_sense_is_ignored(value: str) -> None:
    assert parse_retry_after(value, NOW) is None
    assert after(answer(429, retry_after=value)) == Step("pending", 5.0)


@pytest.mark.parametrize(
    "value",
    ["Sun, 01 Mar 2026 12:01:30 GMT", "Sunday, 01-Mar-26 12:01:30 GMT", "Sun Mar  1 12:01:30 2026"],
    ids=["imf-fixdate", "rfc850", "asctime"],
)
def test_all_three_http_date_forms_are_read(value: str) -> None:
    assert parse_retry_after(value, NOW) == 90.0


def test_a_date_of_another_time_zone_is_read() -> None:
    assert parse_retry_after("Sun, 01 Mar 2026 13:01:30 +0100", NOW) == 90.0


def test_a_date_in_the_past_asks_for_nothing() -> None:
    assert parse_retry_after("Sun, 01 Mar 2020 12:00:00 GMT", NOW) == 0.0


def test_fractions_of_seconds_are_read() -> None:
    assert parse_retry_after(" 1.5 ", NOW) == 1.5


@given(st.text(max_size=60))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Mon, 01 Jan 2026 00:00:00 +99999999999")
def test_any_text_is_a_number_of_seconds_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


@given(
    attempt=st.integers(1, 20),
    status=st.sampled_from([404, 429, 500, 503]),
    retry_after=st.none() | st.integers(0, 10**9).map(str),
    seed=st.integers(0, 2**32),
)
def test_a_delay_is_never_below_the_schedule_nor_above_the_cap(
    attempt: int, status: int, retry_after: str | None, seed: int
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    step = decide(
        answered(status, headers, b"", 1.0), attempt, DEFAULT_SCHEDULE_S, CAP_S, NOW, random_module.Random(seed).random
    )
    if attempt > len(DEFAULT_SCHEDULE_S):
        assert step == Step("dead")
    else:
        scheduled = DEFAULT_SCHEDULE_S[attempt - 1]
        assert step.status == "pending"
        assert step.delay_s is not None
        assert 0.8 * scheduled <= step.delay_s <= max(1.2 * scheduled, CAP_S)


def test_attempts_are_numbered_from_1() -> None:
    with pytest.raises(ValueError, match="numbered from 1"):
        after(answer(500), attempt=0)


OUTCOMES = st.one_of(
    st.integers(200, 599).map(answer),
    st.sampled_from([error for error in ErrorClass if error != ErrorClass.STATUS]).map(lambda error: failed(error, "")),
)


@given(outcomes=st.lists(OUTCOMES, min_size=len(SCHEDULE) + 1, max_size=len(SCHEDULE) + 5))
def test_whatever_comes_back_a_delivery_ends_after_its_last_attempt_at_the_latest_and_only_once(
    outcomes: list[Outcome],
) -> None:
    steps = [after(outcome, attempt) for attempt, outcome in enumerate(outcomes[: len(SCHEDULE) + 1], start=1)]
    lived = list(itertools.takewhile(lambda step: step.status == "pending", steps))
    last = steps[len(lived)]  # there is one: the last attempt never leaves a delivery pending
    assert all(step.delay_s is not None and step.delay_s > 0 and step.disable is None for step in lived)
    assert (last.status == "succeeded") == outcomes[len(lived)].succeeded
    assert last.delay_s is None
