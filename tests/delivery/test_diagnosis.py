"""Findings from made-up facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from delivery.admin.diagnosis import Facts, Finding, Side, findings
from delivery.backlog import Backlog
from delivery.live import BreakerState, Live, Queue
from delivery.stats import NOTHING
from partners.models import FOREVER, Partner, Subscription

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(minutes=10)
SUBSCRIPTION = Subscription(id="sub_1", url="https://hooks.example.com/in", is_enabled=True)
IDLE = Queue(waiting=0, delayed=0, in_flight=0, tokens=None, held_until=None)
FACTS = Facts(
    partner=Partner(id="ptr_1", name="Yotpo", max_in_flight=16),
    subscriptions=[SUBSCRIPTION],
    live=Live(IDLE, {}, workers=2),
    recent={"sub_1": replace(NOTHING, attempts=100)},
    window=timedelta(minutes=15),
    last_error=lambda _: "timed out after 15 s",
    now=NOW,
)
WAITING = {"sub_1": Backlog(5000, LONG_AGO)}


def with_queue(**fields: object) -> Facts:
    queue = replace(IDLE, waiting=5000, **fields)  # type: ignore[arg-type]  # numbers and times, as each test says
    return replace(FACTS, live=Live(queue, WAITING, workers=2))


def only(facts: Facts) -> Finding:
    (found,) = findings(facts)
    return found


def test_all_is_well() -> None:
    assert findings(FACTS) == []


def test_without_a_subscription_nothing_is_sent() -> None:
    found = only(replace(FACTS, subscriptions=[]))
    assert (found.side, found.title) == (Side.SETTING, "No subscription: nothing is sent")


def test_queues_that_do_not_answer_are_ours() -> None:
    found = only(replace(FACTS, live=Live(None, {})))
    assert (found.side, found.detail) == (Side.OURS, "Valkey is away.")


def test_no_worker_is_ours_and_nothing_else_is_blamed_on_the_queue() -> None:
    found = only(replace(FACTS, live=Live(IDLE, WAITING)))
    assert (found.side, found.title) == (Side.OURS, "No worker runs: nothing is sent to anybody")


def test_what_is_due_and_held_back_by_nothing_is_ours() -> None:
    found = only(with_queue())
    assert (found.side, found.since) == (Side.OURS, LONG_AGO)
    assert findings(replace(FACTS, live=Live(IDLE, {"sub_1": Backlog(1, NOW - timedelta(seconds=30))}, 2))) == []


def test_a_backlog_that_is_too_long_to_count_is_ours_too() -> None:
    found = only(replace(FACTS, live=Live(IDLE, None, workers=2, first_due={"sub_1": LONG_AGO})))
    assert (found.side, found.since) == (Side.OURS, LONG_AGO)


def test_deliveries_that_are_still_to_be_made_count_as_due() -> None:
    to_make = Live(IDLE, {}, workers=2, oldest_fan_out_at=LONG_AGO)
    found = only(replace(FACTS, live=to_make))
    assert (found.side, found.since) == (Side.OURS, LONG_AGO)
    assert findings(replace(FACTS, live=replace(to_make, oldest_fan_out_at=NOW))) == []
    held = replace(FACTS, live=replace(to_make, queue=replace(IDLE, held_until=NOW)))
    assert [one.side for one in findings(held)] == [Side.THEIRS]


def test_what_an_open_breaker_holds_back_is_not_ours_because_of_a_fan_out() -> None:
    down = {"sub_1": BreakerState("open", LONG_AGO, NOW)}
    live = Live(IDLE, WAITING, workers=2, breakers=down, oldest_fan_out_at=NOW - timedelta(seconds=1))
    assert [one.side for one in findings(replace(FACTS, live=live))] == [Side.THEIRS]


def test_a_cap_that_is_full_while_deliveries_are_to_be_made_is_not_blamed_on_the_endpoint() -> None:
    full = Live(replace(IDLE, waiting=3000, in_flight=16), {}, workers=2, oldest_fan_out_at=LONG_AGO)
    found = only(replace(FACTS, live=full))
    assert (found.side, found.title) == (Side.SETTING, "3,000 messages must wait: the 16 that may be in flight are")


def test_a_pause_is_a_setting() -> None:
    paused = Partner(paused_until=FOREVER, paused_by="partner")
    at = NOW - timedelta(days=1)
    found = only(replace(with_queue(), partner=paused, paused_at=at))
    assert (found.side, found.title, found.since) == (Side.SETTING, "Paused by partner", at)
    assert only(replace(with_queue(), partner=paused)).since is None


def test_a_queue_that_no_pause_and_no_breaker_holds_has_an_endpoint_that_keeps_the_sender_busy() -> None:
    found = only(with_queue(held_until=NOW + timedelta(seconds=20)))
    assert (found.side, found.since) == (Side.THEIRS, LONG_AGO)
    assert "12:00:20 UTC" in found.detail


def test_a_rate_limit_is_a_setting_and_says_how_long_it_takes() -> None:
    limited = Partner(rate_limit="5/s", max_in_flight=16)
    found = only(replace(with_queue(tokens=0), partner=limited))
    assert (found.side, found.title) == (Side.SETTING, "5,000 deliveries must wait for the rate limit of 5/s")
    assert found.detail == "At this rate they take 16 min."
    assert findings(replace(with_queue(tokens=6000), partner=limited))[0].side == Side.OURS


def test_a_rate_limit_is_not_blamed_for_what_waits_for_a_breaker() -> None:
    lately = NOW - timedelta(seconds=6)
    queue = replace(IDLE, waiting=8, tokens=0)
    waiting = {"sub_1": Backlog(8, lately), "sub_2": Backlog(5000, LONG_AGO)}
    live = Live(queue, waiting, 2, {"sub_2": BreakerState("open", LONG_AGO, NOW)})
    down = Subscription(id="sub_2", url="https://down.example.com/in", is_enabled=True)
    limited = Partner(rate_limit="100/s", max_in_flight=16)
    found = findings(replace(FACTS, live=live, partner=limited, subscriptions=[SUBSCRIPTION, down]))[0]
    assert (found.since, found.detail) == (lately, "At this rate they take 1 s.")


def test_a_full_cap_is_the_endpoints_slowness() -> None:
    found = only(with_queue(in_flight=16))
    assert (found.side, found.title) == (
        Side.THEIRS,
        "5,000 deliveries must wait for answers: all 16 requests are in flight",
    )


def test_an_open_breaker_is_theirs_with_error_since_and_probe_and_explains_what_waits() -> None:
    state = BreakerState("open", LONG_AGO, NOW + timedelta(seconds=20))
    found = only(replace(FACTS, live=Live(replace(IDLE, delayed=9), WAITING, 2, {"sub_1": state})))
    assert (found.side, found.since, found.about) == (Side.THEIRS, LONG_AGO, SUBSCRIPTION)
    assert found.detail == "timed out after 15 s. It is tried again at 12:00:20 UTC."


def test_a_half_open_breaker_is_tried_by_the_next_delivery() -> None:
    found = only(replace(FACTS, live=Live(IDLE, {}, 2, {"sub_1": BreakerState("half_open", LONG_AGO)})))
    assert found.detail.endswith("The next delivery tries it again.")


def test_failures_are_theirs_from_one_in_twenty_on() -> None:
    few, many = (replace(NOTHING, attempts=100, failures=count) for count in (4, 30))
    found = only(replace(FACTS, recent={"sub_1": many}))
    assert (found.side, found.detail) == (Side.THEIRS, "timed out after 15 s")
    assert found.title == "30% of 100 attempts of the last 15 minutes failed"
    assert findings(replace(FACTS, recent={"sub_1": few})) == []


def test_a_disabled_subscription_is_theirs_when_its_endpoint_did_it() -> None:
    def disabled(reason: str) -> Finding:
        one = Subscription(id="sub_1", is_enabled=False, disabled_at=LONG_AGO, disabled_reason=reason)
        return only(replace(FACTS, subscriptions=[one]))

    assert (disabled("gone").side, disabled("gone").since) == (Side.THEIRS, LONG_AGO)
    assert disabled("gone").title == "Disabled: The endpoint answered 410 Gone"
    assert [disabled(reason).side for reason in ("failing", "staff", "partner")] == [
        Side.THEIRS,
        Side.SETTING,
        Side.SETTING,
    ]
