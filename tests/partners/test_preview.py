import json

import pytest

from partners.envelope import Envelope
from partners.preview import Preview, Problem, preview


def an_event(data: bytes = b'{"total": 1.10}') -> Envelope:
    return Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", data)


def test_without_filter_and_transformation_the_default_body_is_shown() -> None:
    assert preview("", "", an_event()) == Preview(True, an_event().body, ())


@pytest.mark.parametrize(("filter_", "wanted"), [("$.data.total", True), ("$.data[?(@.total > 5)]", False)])
def test_the_body_is_shown_whether_the_filter_wants_it_or_not(filter_: str, wanted: bool) -> None:
    assert preview(filter_, '{"map":"$.data.total"}', an_event()) == Preview(wanted, b"1.10", ())


def test_every_problem_is_shown_with_its_place() -> None:
    shown = preview("$.data[", '{"map":{"a":{"$uper":1}}}', an_event())
    assert (shown.wanted, shown.body) == (None, None)
    assert [(problem.where, problem.path) for problem in shown.problems] == [
        ("filter", ""),
        ("transformation", "/map/a/$uper"),
    ]
    assert "character 7" in shown.problems[0].message
    assert "did you mean $upper?" in shown.problems[1].message


def test_what_would_go_wrong_with_this_event_is_shown_with_its_reason() -> None:
    shown = preview("", '{"map":{"$number":"$.type"}}', an_event())
    assert shown.problems == (Problem("transformation", "/map", "text that spells no number", "not_a_number"),)
    wide = preview("$..[?(@.a && @.b)]", "", an_event(b"[" + b"[]," * 70_000 + b"[]]"))
    assert wide.wanted is None
    assert [problem.reason for problem in wide.problems] == ["too_much_work"]


@pytest.mark.parametrize(
    ("transformation", "places"),
    [
        ('{"omit": ["$.data.totla", "$.data.total"]}', ["/omit/0"]),
        ('{"omit": ["$.data.total"], "rename": {"$.data.total": "sum"}}', ["/rename/$.data.total"]),
        ('{"map": {"a": "$.data.totla", "b": {"c": "$.data.total"}}}', ["/map/a"]),
        ('{"map": {"a": {"b~": {"$$c": "$.x"}}}}', ["/map/a/b~0/$$c"]),
        ('{"map": {"a": {"$upper": "$.x"}, "b": {"$upper": "$.x", "$default": ""}}}', ["/map/a"]),
        ('{"map": {"a": {"$coalesce": ["$.x", "$.id"]}, "$$b": null, "c": {"$count": "$.data"}}}', []),
        ('{"map": ["$.x", 1, "$.y"]}', ["/map"]),
        ('{"map": ["$.id", {"a": "$.x"}]}', ["/map/1/a"]),
        ('{"map": {"$each": "$.data.items", "$to": {"a": "@.a", "b": "@.b", "c": "@.c"}}}', ["/map/$to/c"]),
        ('{"map": {"$each": "$.data.none", "$to": {"a": "@.a"}}}', []),
        ('{"map": "$.data"}', []),
        ('{"map": "$.x"}', []),
        ("", []),
    ],
)
def test_parts_without_a_value_have_hints(transformation: str, places: list[str]) -> None:
    event = an_event(b'{"total": 1.10, "items": [{"a": 1}, {"b": 2}]}')

    assert [hint.path for hint in preview("", transformation, event).hints] == places


@pytest.mark.parametrize(
    ("filter_", "messages"),
    [
        ("$.data.totla", ["totla, which this event does not have there; did you mean total?"]),
        ("$.data[?(@.totla > 1)]", ["totla, which this event does not have there; did you mean total?"]),
        ("$.data[?(@.total > 5 && @.buyer.emial == 'a')]", ["emial, which this event does not have there; did you"]),
        ("$.data[?(@.total > 5 && @.by.email == 'a')]", ["by, which this event does not have there"]),
        ("$.data.items[?(@.skuu == 'A' || @.zz)]", ["skuu, which this event", "zz, which this event"]),
        ("$.data.items[?(@.b > $.data.totla)]", ["totla, which this event"]),
        ("$.data['x','y']", ["x or y, which this event does not have there"]),
        ("$.data[?(@.total > 5)]", []),
        ("$.data[?(!@.total)]", []),
        ("$.data[?(!@.none && @.total > 5)]", []),
        ("$.data.items[?(@.b == 1)]", []),
        ("$.data.items[9].z", []),
    ],
)
def test_names_of_a_filter_that_the_event_does_not_have_are_hinted_at(filter_: str, messages: list[str]) -> None:
    event = an_event(b'{"total": 1.10, "buyer": {"email": "b"}, "items": [{"sku": "A"}, {"b": 2}]}')

    shown = preview(filter_, "", event)

    assert shown.wanted is False
    assert len(shown.hints) == len(messages)
    for hint, message in zip(shown.hints, messages, strict=True):
        assert (hint.where, hint.path) == ("filter", "")
        assert f"the filter asks for {message}" in hint.message


def test_a_filter_that_wants_the_event_has_no_hints() -> None:
    assert preview("$.data[?(@.total > 1 || @.totla > 1)]", "", an_event()).hints == ()


def test_a_misspelt_name_is_compared_with_few_and_short_names() -> None:
    """Each comparison takes long, and an event may have 100,000 names."""
    for before, name, is_suggested in [(99, "total", True), (100, "total", False), (0, "total" * 13, False)]:
        names = [*(str(n) for n in range(before)), name]
        event = an_event(json.dumps(dict.fromkeys(names)).encode())
        (hint,) = preview(f"$.data.{name}s", "", event).hints
        assert hint.message.endswith(f"did you mean {name}?") is is_suggested


def test_there_are_hints_for_every_event_that_can_be_transformed() -> None:
    event = an_event(b'"' + b"x" * 1_000_000 + b'"')
    assert preview("", '{"map": {"a": ["$.data", {"b": "$.x"}]}}', event).hints[0].path == "/map/a/1/b"
    wide = an_event(b"[" + b"[]," * 200_000 + b"[]]")
    assert preview("", '{"omit": ["$..a"]}', wide).hints[0].path == "/omit/0"
    deep = an_event(b"[" * 60 + b"]" * 60)
    assert preview("", '{"map": {"a": ["$.data", {"b": "$.x"}]}}', deep).hints[0].path == "/map/a/1/b"


def test_data_that_is_not_json_is_the_only_problem_then() -> None:
    shown = preview("$.data[", "nope", an_event(b"{"))
    assert [problem.where for problem in shown.problems] == ["data"]
    assert (shown.wanted, shown.body) == (None, None)
