"""docs/transformations.md is correct: every event, filter, transformation and error in it is tried here."""

import re
from pathlib import Path

import pytest

from partners.envelope import Envelope
from partners.errors import SpecError, TransformError
from partners.exact_json import dumps, loads, members
from partners.filters import compile_filter
from partners.mapping.call import TAKES
from partners.mapping.dates import DATE_FORMATS
from partners.transform import compile_transformation

DOC = (Path(__file__).parents[2] / "docs" / "transformations.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(.+)\n((?:.*\n)*?)```$", DOC, re.MULTILINE)
FILTER_ROWS = re.findall(r"^\| `(.+)` \| (\w+) \| (yes|no) \|$", DOC, re.MULTILINE)


def _envelope(text: str) -> Envelope:
    parts = members(text.encode())
    id_, type_, timestamp = (str(loads(parts[key])) for key in ("id", "type", "timestamp"))
    return Envelope(id_, type_, timestamp, parts["data"])


EVENTS = {info.split()[-1]: _envelope(text) for info, text in BLOCKS if info.startswith("json event ")}


def _followed_by(kind: str, answer: str) -> list[tuple[str, str, str]]:
    """Blocks of one kind, each with the block after it: (event, text, answer)."""
    found = []
    for (info, text), (next_info, next_text) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if info.startswith(f"json {kind}"):
            assert next_info == answer, f"no {answer} after {text}"
            found.append((info.split()[-1], text, next_text.strip()))
    return found


EXAMPLES = _followed_by("transformation", "json body")
REFUSED = _followed_by("refused", "text error")
UNDIGESTIBLE = _followed_by("undigestible", "text error")


def test_the_doc_has_its_examples() -> None:
    assert set(EVENTS) == {"order", "push", "pull"}
    assert len(re.findall(r"^### \d+\. ", DOC, re.MULTILINE)) == 20
    assert len(EXAMPLES) == 25
    assert len(FILTER_ROWS) == 23
    assert (len(REFUSED), len(UNDIGESTIBLE)) == (2, 1)


@pytest.mark.parametrize(("event", "specification", "body"), EXAMPLES)
def test_every_example_makes_the_body_it_shows(event: str, specification: str, body: str) -> None:
    made = compile_transformation(specification).apply(EVENTS[event])
    assert made.decode() == dumps(loads(body.encode())).decode()


@pytest.mark.parametrize(("filter_", "event", "delivered"), FILTER_ROWS)
def test_every_filter_delivers_as_it_says(filter_: str, event: str, delivered: str) -> None:
    assert compile_filter(filter_.replace(r"\|", "|")).matches(EVENTS[event]) is (delivered == "yes")


@pytest.mark.parametrize(("_", "specification", "message"), REFUSED)
def test_every_refusal_says_what_is_shown(_: str, specification: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        compile_transformation(specification)
    assert str(refused.value) == message


@pytest.mark.parametrize(("event", "specification", "message"), UNDIGESTIBLE)
def test_every_failure_says_what_is_shown(event: str, specification: str, message: str) -> None:
    with pytest.raises(TransformError) as refused:
        compile_transformation(specification).apply(EVENTS[event])
    assert str(refused.value) == message


def test_every_function_option_and_date_format_is_described() -> None:
    options = {option for options in TAKES.values() for option in options}
    for word in {*TAKES, *options, *DATE_FORMATS}:
        assert f"`{word}`" in DOC or f'"{word}"' in DOC, word


def test_the_two_json_parts_of_the_introduction_are_what_is_sent() -> None:
    order = EVENTS["order"]
    assert order.body.startswith(b'{"id":"evt_0193553c8f6e7a30b5a2c1d4e5f60718","type":"orders.created","timestamp":')
    assert order.body.endswith(b',"data":' + order.data + b"}")
