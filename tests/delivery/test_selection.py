"""Filters choose among the subscriptions that match. What takes long is put off, and nothing is lost."""

import pytest

from delivery.routing import Matching, Route
from delivery.selection import Selection, select, select_some
from partners.envelope import Envelope
from partners.errors import JSONError
from partners.filters import compile_filter


def a_route(subscription_id: str, filter_: str | None = None, partner_id: str = "ptr_1") -> Route:
    return Route(subscription_id, partner_id, ("*",), None if filter_ is None else compile_filter(filter_))


def an_event(data: bytes) -> Envelope:
    return Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", data)


def chosen(routes: list[Route], data: bytes) -> Selection:
    return select(Matching(tuple(routes), ()), lambda: an_event(data))


def rested() -> None:
    pass


ORDER = b'{"total_price":"199.00"}'
HUNGRY = "$.data.items[*].*[?($.data.items[*].*[?(@.q{} == 'x')])]"
"""A filter that stays within the budget of a single filter."""
ENDLESS = "$..[?($.data.items[*].*[?($.data.items[*].*)])]"
"""One that exceeds it."""
ITEMS = b'{"items":[' + b'{"a":{},"b":{},"c":{}},' * 25 + b"{}]}"


def test_filters_choose_among_the_routes() -> None:
    routes = [
        a_route("none"),
        a_route("rich", "$.data[?(@.total_price > 100)]"),
        a_route("rich too", "$.data[?(@.total_price > 100)]"),
        a_route("poor", "$.data[?(@.total_price < 100)]"),
    ]
    selection = chosen(routes, ORDER)
    assert [route.subscription_id for route in selection.wanted] == ["none", "rich", "rich too"]
    assert (selection.failed, selection.later) == ([], set())


def test_a_partner_with_many_subscriptions_is_put_off() -> None:
    selection = select(Matching((a_route("plain"),), ("ptr_2",)), lambda: an_event(ORDER))
    assert [route.subscription_id for route in selection.wanted] == ["plain"]
    assert selection.later == {"ptr_2"}


def test_a_partner_whose_filters_take_long_is_put_off_with_all_its_subscriptions() -> None:
    slow = [a_route("plain"), a_route("hungry", HUNGRY.format(1)), a_route("modest", "$.data.items")]
    others = [a_route("other", "$.data.items", "ptr_2"), a_route("also hungry", HUNGRY.format(2), "ptr_3")]
    selection = chosen([*slow, *others], ITEMS)
    assert [route.subscription_id for route in selection.wanted] == ["other"]
    assert (selection.failed, selection.later) == ([], {"ptr_1", "ptr_3"})


def test_ordinary_filters_are_not_put_off() -> None:
    routes = [a_route(f"sub {n}", f"$.data[?(@.total_price > {n} && @.currency != 'EUR')]") for n in range(10)]
    deep = a_route("deep", "$..total_price", "ptr_2")
    order = b'{"total_price":199,"currency":"USD","note":"' + b"x" * 900 + b'"}'
    selection = chosen([*routes, deep], order)
    assert selection.wanted == [*routes, deep]
    assert selection.later == set()


def test_an_event_is_made_once_and_only_for_a_filter() -> None:
    made: list[Envelope] = []

    def make() -> Envelope:
        made.append(an_event(ORDER))
        return made[-1]

    assert len(select(Matching((a_route("sub"),), ()), make).wanted) == 1
    assert made == []
    select(Matching((a_route("rich", "$.data.total_price"), a_route("poor", "$.data.a")), ()), make)
    assert len(made) == 1


def test_an_event_is_not_parsed_without_a_filter() -> None:
    assert len(chosen([a_route("sub")], b"{").wanted) == 1
    with pytest.raises(JSONError):
        chosen([a_route("sub", "$.data.a")], b"{")


def some(routes: list[Route], most: int = 100, steps: int = 20_000, data: bytes = ITEMS) -> tuple[Selection, str]:
    return select_some(routes, an_event(data), most, steps, rested)


def test_some_is_all_if_it_is_little() -> None:
    routes = [a_route("a"), a_route("b", "$.data.nothing"), a_route("c", "$.data.items")]
    selection, last = some(routes)
    assert (selection.wanted, last) == ([routes[0], routes[2]], "")
    assert some([]) == (Selection(), "")


def test_some_ends_after_so_many_deliveries() -> None:
    routes = [a_route(str(n)) for n in range(5)]
    selection, last = some(routes, most=2)
    assert (selection.wanted, last) == (routes[:2], "1")
    assert some(routes[2:4], most=2)[1] == ""


def test_some_ends_after_so_many_steps_and_always_gets_on() -> None:
    routes = [a_route(str(n), HUNGRY.format(n)) for n in range(5)]
    assert some(routes, steps=1)[1] == "0"
    assert 0 < int(some(routes, steps=60_000)[1]) < 4


def test_a_filter_that_fails_is_reported_and_not_lost() -> None:
    endless = a_route("endless", ENDLESS)
    selection, last = some([endless, a_route("plain")], steps=100_000)
    assert ([route.subscription_id for route in selection.wanted], last) == (["plain"], "")
    assert [(route, error.reason) for route, error in selection.failed] == [(endless, "too_much_work")]


def test_a_slow_filter_rests() -> None:
    rests: list[None] = []
    select_some([a_route("hungry", HUNGRY.format(1))], an_event(ITEMS), 1, 1, lambda: rests.append(None))
    assert len(rests) > 1
