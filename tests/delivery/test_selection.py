"""Filters choose among the subscriptions that match. What takes long is put off, and nothing is lost."""

import itertools

import pytest

from delivery.routing import Matching, Route
from delivery.selection import MOST_AT_ONCE, Selection, select, select_some
from partners.envelope import Envelope
from partners.errors import JSONError
from partners.filters import Filter, compile_filter
from partners.paths import Scope


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
    assert selection == Selection([a_route("plain")], later={"ptr_2"})


def test_a_partner_with_many_deliveries_is_put_off() -> None:
    ten = [a_route(str(n)) for n in range(MOST_AT_ONCE)]
    eleven = [a_route(f"of 2, {n}", "$.data.total_price", "ptr_2") for n in range(MOST_AT_ONCE + 1)]
    assert chosen([*ten, *eleven], ORDER) == Selection(ten, later={"ptr_2"})
    assert chosen([*ten, *eleven[1:]], ORDER) == Selection([*ten, *eleven[1:]])


def test_many_subscriptions_that_do_not_want_an_event_are_not_put_off() -> None:
    shops = [a_route(str(n), f"$.data[?(@.shop_id == {n})]") for n in range(80)]
    order = b'{"shop_id":7,"note":"' + b"x" * 900 + b'"}'
    assert chosen(shops, order) == Selection([shops[7]])


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


def some(routes: list[Route], most: int = 100, over_after: int = 100) -> tuple[Selection, str | None]:
    """The time is over when it was asked for so many times."""
    asked = itertools.count(1)
    return select_some(routes, an_event(ITEMS), most, lambda: next(asked) > over_after, rested)


def test_some_is_all_if_it_is_little() -> None:
    routes = [a_route("a"), a_route("b", "$.data.nothing"), a_route("c", "$.data.items")]
    assert some(routes) == (Selection([routes[0], routes[2]]), None)
    assert some([]) == (Selection(), None)


def test_some_ends_after_so_many_deliveries() -> None:
    routes = [a_route(str(n)) for n in range(5)]
    assert some(routes, most=2) == (Selection(routes[:2]), "1")
    assert some(routes[2:4], most=2) == (Selection(routes[2:4]), None)


def test_some_ends_when_its_time_is_over_and_always_gets_on() -> None:
    routes = [a_route(str(n), f"$.data.items[{n}]") for n in range(5)]
    assert some(routes, over_after=0) == (Selection(routes[:1]), "0")
    assert some(routes, over_after=2) == (Selection(routes[:3]), "2")
    plain = [a_route(str(n)) for n in range(5)]
    assert some(plain, over_after=0) == (Selection(plain), None)


def test_equal_filters_are_evaluated_once() -> None:
    path = Counted()
    routes = [Route(str(n), "ptr_1", ("*",), Filter("the same", path)) for n in range(5)]  # type: ignore[arg-type]
    assert some(routes) == (Selection(routes), None)
    assert path.count == 1
    assert chosen(routes, ORDER) == Selection(routes)
    assert path.count == 2


class Counted:
    """A path that always finds something."""

    count = 0

    def finds(self, scope: Scope) -> bool:
        self.count += 1
        return True


def test_a_filter_that_fails_is_reported_and_not_lost() -> None:
    endless = a_route("endless", ENDLESS)
    selection, last = some([endless, a_route("plain")])
    assert ([route.subscription_id for route in selection.wanted], last) == (["plain"], None)
    assert [(route, error.reason) for route, error in selection.failed] == [(endless, "too_much_work")]


class Broken:
    """A path with a fault of ours."""

    def finds(self, scope: Scope) -> bool:
        raise RecursionError


def test_a_filter_with_an_unexpected_fault_stops_no_others(caplog: pytest.LogCaptureFixture) -> None:
    broken = Route("broken", "ptr_1", ("*",), Filter("broken", Broken()))  # type: ignore[arg-type]
    assert chosen([broken, a_route("other", None, "ptr_2")], ORDER).later == {"ptr_1"}
    selection, last = some([broken, a_route("plain")])
    assert ([route.subscription_id for route in selection.wanted], last) == (["plain"], None)
    assert [error.reason for _, error in selection.failed] == ["internal_error"]
    assert [record.message for record in caplog.records] == ["a filter raised an exception"]


def test_a_slow_filter_rests() -> None:
    rests: list[None] = []
    select_some([a_route("hungry", HUNGRY.format(1))], an_event(ITEMS), 1, bool, lambda: rests.append(None))
    assert len(rests) > 10


def test_quick_filters_rest_between_them() -> None:
    rests: list[None] = []
    routes = [a_route(str(n), f"$.data.items[{n}]") for n in range(5)]
    select_some(routes, an_event(ITEMS), 100, bool, lambda: rests.append(None))
    assert len(rests) == 5
