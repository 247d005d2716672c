"""Each of few partners has a label; of many, the busiest have one."""

from collections.abc import Sequence

import pytest

from delivery.metrics.labels import REFRESH_S, PartnerLabels, busiest_partners
from delivery.models import Rollup
from delivery.resolutions import HOUR_S, roll_up
from delivery.rollups import Cell, write
from tests.clocks import Clock, hours_ago


def labels(most: int, *busiest: str, clock: Clock | None = None) -> PartnerLabels:
    return PartnerLabels(most, lambda limit: busiest[:limit], clock or Clock())


def named(of: PartnerLabels, partner_ids: Sequence[str]) -> list[str]:
    return [of.of(one) for one in partner_ids]


def test_all_are_named_while_there_is_room() -> None:
    few = labels(3)
    assert named(few, ["a", "b", "c", "a"]) == ["a", "b", "c", "a"]
    assert named(labels(2), ["a", "b", "c", "a"]) == ["a", "b", "other", "a"]


def test_nobody_is_looked_up_before_there_are_too_many() -> None:
    few = labels(2)
    assert not few.is_due()
    named(few, ["a", "b"])
    assert few.is_due()


def test_the_busiest_take_the_place_of_the_others() -> None:
    clock = Clock()
    some = labels(2, "c", "d", "e", clock=clock)
    named(some, ["a", "b"])
    assert some.name(some.look()) == {"a", "b"}
    assert named(some, ["a", "c", "d", "e"]) == ["other", "c", "d", "other"]
    assert not some.is_due()
    clock.now += REFRESH_S
    assert some.is_due()


def test_who_was_named_stays_when_there_is_room_or_nothing_is_known() -> None:
    some = labels(3, "c")
    named(some, ["a", "b", "z"])
    assert some.name(["c"]) == {"z"}
    assert some.name([]) == set()
    assert named(some, ["a", "b", "c"]) == ["a", "b", "c"]


@pytest.mark.servers
@pytest.mark.django_db
def test_the_busiest_are_those_with_most_attempts_of_the_last_day() -> None:
    write({(hours_ago(2), f"sub_{name}"): Cell(f"ptr_{name}", attempts=n) for name, n in [("a", 5), ("b", 9)]})
    write({(hours_ago(40), "sub_c"): Cell("ptr_c", attempts=100)})
    roll_up(hours_ago(0))
    assert Rollup.objects.filter(resolution_s=HOUR_S).count() == 3
    assert busiest_partners(1) == ["ptr_b"]
    assert busiest_partners(5) == ["ptr_b", "ptr_a"]
