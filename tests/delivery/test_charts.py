"""Charts as SVG: shapes, positions and titles."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from delivery.admin.charts import HEIGHT, WIDTH, Series, lines, stacked_bars

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
TIMES = [NOON + timedelta(minutes=minute) for minute in range(4)]


def bars(svg: str, kind: str) -> list[tuple[float, float]]:
    """The top and height of each bar of one kind."""
    found = [one for one in ElementTree.fromstring(svg).iter("rect") if one.get("class") == f"rh-{kind}"]
    return [(float(one.get("y", "")), float(one.get("height", ""))) for one in found]


def test_bars_stand_on_each_other_and_are_as_high_as_their_values() -> None:
    svg = stacked_bars(TIMES, [Series("ok", "success", [10, 20, 0, 5]), Series("bad", "danger", [10, 0, 0, 5])])

    (first_top, first), (_, second), (_, fourth) = bars(svg, "success")
    (on_first_top, on_first), (_, on_fourth) = bars(svg, "danger")
    assert [second, fourth] == pytest.approx([2 * first, first / 2], abs=0.2)
    assert [on_first, on_fourth] == pytest.approx([first, fourth])
    assert on_first_top + on_first == pytest.approx(first_top, abs=0.2)


def test_every_step_says_its_time_and_values() -> None:
    svg = stacked_bars(TIMES, [Series("ok", "success", [1500, 2, 3, 4]), Series("bad", "danger", [0, 0, 0, 7])])

    titles = [one.text for one in ElementTree.fromstring(svg).iter("title")]
    assert titles[0] == "2026-05-01 12:00\nok: 1.5k\nbad: 0"
    assert titles[3] == "2026-05-01 12:03\nok: 4\nbad: 7"


def test_a_gap_lifts_the_pen() -> None:
    svg = lines(TIMES, [Series("p50", "p50", [10.0, 20.0, None, 5.0])], "ms")

    (path,) = ElementTree.fromstring(svg).iter("path")
    assert re.sub(r"[-0-9. h]+", "", path.get("d", "")) == "MLM"
    assert "p50: -" in svg


@pytest.mark.parametrize(
    ("largest", "top"), [(0, "1 ms"), (0.07, "0.1 ms"), (3, "5 ms"), (11, "20 ms"), (101, "200 ms"), (2400, "2.5 s")]
)
def test_the_scale_ends_at_a_round_number(largest: float, top: str) -> None:
    svg = lines(TIMES[:1], [Series("p50", "p50", [largest])], "ms")

    ticks = [one.text for one in ElementTree.fromstring(svg).iter("text") if one.get("class") == "rh-tick"]
    assert ticks[-1] == top


def test_nothing_is_drawn_outside_of_the_picture() -> None:
    svg = stacked_bars(TIMES, [Series("ok", "success", [1e7, 9.99, 3, 0])])

    for one in ElementTree.fromstring(svg).iter("rect"):
        assert 0 <= float(one.get("x", "")) <= float(one.get("x", "")) + float(one.get("width", "")) <= WIDTH
        assert 0 <= float(one.get("y", "")) <= float(one.get("y", "")) + float(one.get("height", "")) <= HEIGHT


def test_no_time_at_all_is_an_empty_picture() -> None:
    assert "<rect" not in stacked_bars([], [Series("ok", "success", [])])
    assert ElementTree.fromstring(lines([], [])).get("class") == "rh-chart"


def test_days_are_labelled_by_date_and_hours_by_time() -> None:
    days = [NOON + timedelta(days=day) for day in range(7)]

    assert ">05-03<" in stacked_bars(days, [Series("ok", "success", [1] * 7)])
    assert ">12:01<" in stacked_bars(TIMES, [Series("ok", "success", [1] * 4)])
