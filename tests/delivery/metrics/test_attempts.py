"""The metrics of attempts add up to the recorded attempts."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from delivery.histogram import BOUNDS_MS, SIZE
from delivery.metrics.attempts import MOST_KINDS, AttemptMetrics, outcome_label
from delivery.metrics.labels import PartnerLabels
from delivery.outcomes import ErrorClass, answered, failed
from delivery.recorder import AttemptRecord
from delivery.retries import Step

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
GOOD = AttemptRecord(
    delivery_id="dlv_1",
    subscription_id="sub_1",
    partner_id="ptr_1",
    event_type="orders.created",
    number=1,
    started_at=AT,
    request_headers="webhook-id: e1",
    outcome=answered(200, {}, b"", 12.0),
    step=Step("succeeded"),
    next_attempt_at=None,
    finished_at=AT,
    worker="here:1",
    url="https://hooks.reviews.com/in",
    event_delay_s=0.3,
)
TIMED_OUT = replace(
    GOOD, outcome=failed(ErrorClass.TIMEOUT, "slow", 15_000), step=Step("pending", 5.0), event_delay_s=None
)
REFUSED = replace(GOOD, outcome=answered(503, {}, b"", 20.0), step=Step("dead"), event_delay_s=None)
UNSENT = replace(
    GOOD, request_headers="", outcome=failed(ErrorClass.TRANSFORM, "no"), step=Step("dead"), event_delay_s=None
)


def metrics(most: int = 10) -> AttemptMetrics:
    return AttemptMetrics(PartnerLabels(most, lambda _: []))


class Seen:
    """The result of a scrape."""

    def __init__(self, of: AttemptMetrics) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(of)

    def __call__(self, name: str, partner: str = "ptr_1", **labels: str) -> float:
        found = self.registry.get_sample_value(f"recart_hooks_{name}", {"partner": partner, **labels})
        assert found is not None, (name, partner, labels)
        return found

    def families(self) -> list[Metric]:
        """Parsed from the text that Prometheus gets."""
        return list(text_string_to_metric_families(generate_latest(self.registry).decode()))


def test_attempts_are_counted_by_partner_type_and_outcome() -> None:
    counted = metrics()
    counted.add([GOOD, GOOD, TIMED_OUT])
    counted.add([REFUSED])
    seen = Seen(counted)
    assert seen("attempts_total", event_type="orders.created", outcome="succeeded") == 2
    assert seen("attempts_total", event_type="orders.created", outcome="timeout") == 1
    assert seen("attempts_total", event_type="orders.created", outcome="http_5xx") == 1
    assert seen("deliveries_total", status="succeeded") == 2
    assert seen("deliveries_total", status="dead") == 1
    assert seen("retries_total") == 1


def test_latencies_are_in_the_buckets_of_the_roll_ups_and_only_of_what_was_sent() -> None:
    counted = metrics()
    counted.add([GOOD, REFUSED, TIMED_OUT, UNSENT])
    seen = Seen(counted)
    buckets = {le: seen("attempt_duration_seconds_bucket", le=le) for le in ("0.011", "0.017", "0.025", "17.0", "+Inf")}
    assert buckets == {"0.011": 0, "0.017": 1, "0.025": 2, "17.0": 3, "+Inf": 3}
    (family,) = [one for one in seen.families() if one.name == "recart_hooks_attempt_duration_seconds"]
    assert len([one for one in family.samples if one.name.endswith("_bucket")]) == SIZE == len(BOUNDS_MS) + 1
    assert seen("attempt_duration_seconds_sum") == pytest.approx(15.032)
    assert seen("attempt_duration_seconds_count") == 3


def test_the_delay_is_that_of_first_requests() -> None:
    counted = metrics()
    counted.add([GOOD, TIMED_OUT])
    seen = Seen(counted)
    assert seen("event_delay_seconds_count") == 1
    assert seen("event_delay_seconds_bucket", le="0.25") == 0
    assert seen("event_delay_seconds_bucket", le="0.5") == 1


def test_partners_and_types_beyond_the_bounds_are_other() -> None:
    counted = metrics(most=2)
    counted.add([replace(GOOD, partner_id=f"ptr_{n}") for n in range(5)])
    counted.add([replace(GOOD, partner_id="ptr_0", event_type=f"orders.type{n}") for n in range(3 * MOST_KINDS)])
    seen = Seen(counted)
    (family,) = [one for one in seen.families() if one.name == "recart_hooks_attempts"]
    assert sum(one.value for one in family.samples) == 5 + 3 * MOST_KINDS
    assert seen("attempts_total", "other", event_type="orders.created", outcome="succeeded") == 3
    assert len([one for one in family.samples if one.labels["partner"] == "ptr_0"]) == MOST_KINDS + 1
    assert seen("attempts_total", "ptr_0", event_type="other", outcome="succeeded") == 2 * MOST_KINDS + 1


def test_names_follow_the_rules_of_prometheus() -> None:
    for family in metrics().describe():
        assert re.fullmatch(r"recart_hooks_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_ms", "_count", "_total"))


def test_an_outcome_is_one_of_few_words() -> None:
    assert outcome_label(answered(404, {}, b"", 1)) == "http_4xx"
    assert outcome_label(failed(ErrorClass.DNS, "no such name")) == "dns"
