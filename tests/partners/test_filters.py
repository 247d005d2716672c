import json

import pytest

from partners.envelope import Envelope
from partners.errors import JSONError, SpecError, TransformError
from partners.filters import compile_filter


def an_event(data: bytes) -> Envelope:
    return Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", data)


@pytest.mark.parametrize(
    ("filter_", "data", "expected"),
    [
        ("$.data[?(@.total_price > 100)]", b'{"total_price":"199.00"}', True),
        ("$.data[?(@.total_price > 100)]", b'{"total_price":99.5}', False),
        ("$.data[?(@.total_price > 100)]", b'[{"total_price":99.5},{"total_price":100.01}]', True),
        ("$.data[?(@.total_price > 100)]", b'{"refund":{"total_price":900},"total_price":1}', False),
        ("$.data.line_items[?(@.sku == 'X')]", b'{"line_items":[{"sku":"Y"},{"sku":"X"}]}', True),
        ("$.data.line_items[?(@.sku == 'X')]", b'{"line_items":[]}', False),
        ("$.data.line_items[?(@.sku == 'X')]", b'{"line_items":null}', False),
        ("$.data.customer", b'{"customer":null}', True),
        ("$.data.customer", b"{}", False),
        ("$[?(@.type == 'orders.created')]", b"{}", True),
        ("  $.data.customer\n", b'{"customer":1}', True),
        ("$.data[?(@.id > 9007199254740992)]", b'{"id":9007199254740993}', True),
    ],
)
def test_an_event_is_wanted_if_the_filter_finds_something(filter_: str, data: bytes, expected: bool) -> None:
    assert compile_filter(filter_).matches(an_event(data)) is expected


@pytest.mark.parametrize("text", ["", "  ", "total_price > 100", "$.data[?(@.a > )]", "$.data[?(@.a =~ '.*')]"])
def test_an_invalid_filter_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        compile_filter(text)


def test_a_filter_is_compiled_once() -> None:
    assert compile_filter("$.data.once") is compile_filter("$.data.once")


def test_a_filter_gives_up_on_an_event_that_is_too_much_for_it() -> None:
    wide = an_event(b"[" + b"{}," * 60_000 + b"{}]")
    with pytest.raises(TransformError) as refused:
        compile_filter("$..[?(@.a && @.b)]").matches(wide)
    assert refused.value.reason == "too_much_work"


def test_data_that_is_not_json_raises_a_json_error() -> None:
    with pytest.raises(JSONError):
        compile_filter("$.data").matches(an_event(b"nope"))


LOOKS_THROUGH_ALL_FOR_EACH = "$..[?($.data.items[*].*[?(@.a == 'x')])]"


def test_a_larger_event_allows_more_work() -> None:
    def items(count: int) -> Envelope:
        return an_event(json.dumps({"items": [{"a": {"b": 1}, "c": "c" * 80}] * count}).encode())

    assert compile_filter("$..[?(@.b > 5 || @.c == 'x' || @.d == 'y' || @.e)]").matches(items(200)) is False
    assert compile_filter(LOOKS_THROUGH_ALL_FOR_EACH).matches(items(10)) is False
    with pytest.raises(TransformError, match="more than the 39124 steps that this event allows"):
        compile_filter(LOOKS_THROUGH_ALL_FOR_EACH).matches(items(45))
