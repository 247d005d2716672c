import pytest

from delivery.broker import InvalidRate, QueueLimits, parse_rate
from delivery.broker.limits import arguments, unpacked
from delivery.broker.rates import default_burst


@pytest.mark.parametrize(
    ("rate", "per_second"),
    [
        ("50/s", 50.0),
        ("600/m", 10.0),
        ("1000/h", 1000 / 3600),
        ("0.5/s", 0.5),
        ("10", 10.0),
        (10, 10.0),
        (" 3/s ", 3.0),
        ("0", None),
        ("0/s", None),
        ("", None),
        (None, None),
    ],
)
def test_a_rate_is_read_as_celery_reads_it(rate: str | float | None, per_second: float | None) -> None:
    assert parse_rate(rate) == per_second


@pytest.mark.parametrize("rate", ["x", "5/d", "/s", "5/", "5/s/s", "-1/s", "nan", "inf/s", "5 per s"])
def test_an_invalid_rate_is_refused_with_valid_examples(rate: str) -> None:
    with pytest.raises(InvalidRate, match="is not a rate"):
        parse_rate(rate)


def test_a_burst_is_at_least_one_message() -> None:
    assert default_burst(1 / 3600) >= 1
    assert default_burst(100) == 26
    assert arguments(QueueLimits("partner.a", "1/s", burst=0.2))[2] == "1.0"


def test_limits_survive_being_packed() -> None:
    limits = QueueLimits("partner.a", 50.0, 16, float("inf"), burst=3.0)
    _, *packed = arguments(limits)
    assert unpacked("partner.a", " ".join(packed)) == limits
    assert unpacked("partner.a", None) == QueueLimits("partner.a")
