import pytest

from partners.budget import Budget
from partners.errors import TransformError
from partners.exact_json import Number, Value, loads
from partners.paths.comparisons import equal, holds


def value(text: str) -> Value:
    return loads(text.encode())


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("199", "199.00"),
        ("1e2", "100"),
        ("0", "-0.0"),
        ('"199.00"', "199"),
        ("199", '"199.0"'),
        ("1.10", '"1.1"'),
        ("12345678901234567890123", "12345678901234567890123.0"),
        ('"a"', '"a"'),
        ("true", "true"),
        ("null", "null"),
        ('[1,{"a":[2.0]}]', '[1.0,{"a":[2]}]'),
        ('{"a":1,"b":2}', '{"b":2,"a":1}'),
    ],
)
def test_equal(left: str, right: str) -> None:
    budget = Budget()
    assert holds("==", value(left), value(right), budget)
    assert holds("=", value(right), value(left), budget)
    assert not holds("!=", value(left), value(right), budget)
    assert holds("<=", value(left), value(right), budget)
    assert holds(">=", value(left), value(right), budget)
    assert not holds("<", value(left), value(right), budget)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1", "2"),
        ("1", "true"),
        ("0", "false"),
        ("0", "null"),
        ("false", "null"),
        ('"1.0"', '"1.00"'),
        ('" 1"', "1"),
        ('"+1"', "1"),
        ('"01"', "1"),
        ('"1,000"', "1000"),
        ('""', "null"),
        ('""', "0"),
        ('"a"', '"A"'),
        ('"a"', '["a"]'),
        ("[1]", "[1,2]"),
        ("[1]", "[2]"),
        ("{}", "[]"),
        ('{"a":1}', '{"b":1}'),
        ('{"a":1}', '{"a":2}'),
        ("100000000000000000000000001", "100000000000000000000000002"),
        (f'"{"0." + "0" * 70}"', "0"),
    ],
)
def test_not_equal(left: str, right: str) -> None:
    budget = Budget()
    assert not equal(value(left), value(right), budget)
    assert not equal(value(right), value(left), budget)
    assert holds("!=", value(left), value(right), budget)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("1", "2"),
        ("1.1", "1.10000000000000000000000001"),
        ('"99.00"', "100"),
        ('"99.00"', '"100.00"'),
        ('"apple"', '"banana"'),
        ('"2026-01-01T00:00:00Z"', '"2026-02-01T00:00:00Z"'),
        ('"10"', '"9a"'),
    ],
)
def test_less(smaller: str, larger: str) -> None:
    budget = Budget()
    assert holds("<", value(smaller), value(larger), budget)
    assert holds("<=", value(smaller), value(larger), budget)
    assert holds(">", value(larger), value(smaller), budget)
    assert not holds(">=", value(smaller), value(larger), budget)


@pytest.mark.parametrize("pair", [("1", '"a"'), ("null", "1"), ("[1]", "[2]"), ("true", "false"), ("{}", "1")])
def test_what_has_no_order_is_neither_less_nor_greater(pair: tuple[str, str]) -> None:
    budget = Budget()
    assert not any(holds(op, value(pair[0]), value(pair[1]), budget) for op in ("<", "<=", ">", ">="))


@pytest.mark.parametrize(
    ("op", "large"),
    [("==", [1, 2, 3]), ("==", "x" * 2000), ("<", "x" * 2000), ("==", Number("1" * 100)), ("<", Number("1" * 100))],
)
def test_comparing_costs_steps(op: str, large: Value) -> None:
    with pytest.raises(TransformError):
        holds(op, large, large, Budget(max_steps=3))


@pytest.mark.parametrize(
    ("op", "left", "right"),
    [
        ("==", [1, 2, 3, 4], [1, 2, 3, 5]),
        ("==", {"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 1, "b": 2, "c": 3, "e": 4}),
        ("<", "199.00", 9000),
    ],
)
def test_comparing_different_values_costs_steps_too(op: str, left: Value, right: Value) -> None:
    with pytest.raises(TransformError):
        holds(op, left, right, Budget(max_steps=0 if op == "<" else 4))
