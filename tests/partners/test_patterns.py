import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.errors import PatternError
from partners.patterns import candidates, category, check_event_type, check_pattern, check_patterns, matches

segments = st.text("abcXYZ019_-", min_size=1, max_size=4)
event_types = st.lists(segments, min_size=1, max_size=5).map(".".join)
patterns = st.one_of(event_types, event_types.map(lambda name: f"{name}.*"), st.just("*"))


@pytest.mark.parametrize(
    ("pattern", "event_type", "expected"),
    [
        ("orders.created", "orders.created", True),
        ("orders.created", "orders.updated", False),
        ("orders.created", "Orders.created", False),
        ("orders.*", "orders.created", True),
        ("orders.*", "orders.items.added", True),
        ("orders.*", "orders", False),
        ("orders.*", "ordersbook.created", False),
        ("orders.items.*", "orders.items.added", True),
        ("orders.items.*", "orders.created", False),
        ("*", "orders.created", True),
        ("*", "ping", True),
    ],
)
def test_what_a_pattern_matches(pattern: str, event_type: str, expected: bool) -> None:
    assert matches(pattern, event_type) is expected
    assert (pattern in candidates(event_type)) is expected


def test_candidates_go_from_the_narrowest_to_everything() -> None:
    assert candidates("orders.items.added") == ("orders.items.added", "orders.items.*", "orders.*", "*")
    assert candidates("ping") == ("ping", "*")


@given(pattern=patterns, event_type=event_types)
def test_the_candidates_are_exactly_the_patterns_that_match(pattern: str, event_type: str) -> None:
    assert (check_pattern(pattern) in candidates(check_event_type(event_type))) is matches(pattern, event_type)


@pytest.mark.parametrize(("event_type", "expected"), [("orders.items.added", "orders"), ("ping", "ping")])
def test_the_category_is_the_part_before_the_first_dot(event_type: str, expected: str) -> None:
    assert category(event_type) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "event type: 1 to 200 characters are allowed, not 0"),
        ("a" * 201, "event type: 1 to 200 characters are allowed, not 201"),
        ("a." * 10 + "a", "11 parts between dots: at most 10"),
        ("orders..created", "an empty part at character 8"),
        (".created", "an empty part at character 1"),
        ("orders.", "an empty part at character 8"),
        ("orders.*", "'\\*' at character 8 is not allowed; only patterns have stars"),
        ("orders/create", "write `orders.create`, with dots"),
        ("orders created", "' ' at character 7 is not allowed; parts are letters, digits, `_` and `-`"),
        ("zamówienia.nowe", "'ó' at character 4 is not allowed"),
        ("x" * 100 + " ", r"xxx\.\.\.': "),
    ],
)
def test_a_name_that_is_no_event_type_is_refused_with_the_place(name: str, message: str) -> None:
    with pytest.raises(PatternError, match=message):
        check_event_type(name)


def test_the_largest_that_are_allowed() -> None:
    for name in ("a" * 200, "a." * 9 + "a"):
        assert check_event_type(name) == name
    check_patterns(f"a{n}" for n in range(100))


@pytest.mark.parametrize("pattern", ["*.created", "orders.cr*", "orders.*.added", "**", "orders.**", "*.*"])
def test_a_star_elsewhere_is_refused_with_a_hint(pattern: str) -> None:
    with pytest.raises(PatternError, match="a star stands alone or after the last dot"):
        check_pattern(pattern)


def test_repeated_patterns_count_once() -> None:
    check_patterns(["orders.*"] * 101)


@pytest.mark.parametrize(
    ("given_patterns", "message"),
    [([], "give at least one"), ([f"a{n}" for n in range(101)], "101 event type patterns: at most 100")],
)
def test_too_few_or_too_many_patterns_are_refused(given_patterns: list[str], message: str) -> None:
    with pytest.raises(PatternError, match=message):
        check_patterns(given_patterns)
