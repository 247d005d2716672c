"""Parts of a filter or a transformation that have no value for one event, often because of a misspelt path.

They are not errors: another event may have what this one lacks. So they are only for previews.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, islice
from typing import Literal

from partners.budget import FILTER, MAX_OUTPUT_BYTES, TRANSFORMATION, Budget
from partners.edits import omit
from partners.envelope import Envelope
from partners.exact_json import EVENT_LIMITS, Limits, Value, loads
from partners.filters import compile_filter
from partners.json_pointer import pointer
from partners.mapping.call import TAKES
from partners.paths import MISSING, Node, Scope
from partners.paths.conditions import wanted_paths
from partners.paths.path import follow
from partners.paths.steps import Filter, Names
from partners.transform import SPEC_LIMITS, compile_transformation

_KNOWN_NAMES = 100
_LONGEST_NAME = 60
"""Only so many names, and none that is longer, are compared with a misspelt one: each comparison takes up to 1 ms."""
_BODY_LIMITS = Limits(MAX_OUTPUT_BYTES, SPEC_LIMITS.max_depth + EVENT_LIMITS.max_depth)


@dataclass(frozen=True, slots=True)
class Hint:
    """`path` is a JSON pointer into the transformation."""

    path: str
    message: str
    where: Literal["transformation", "filter", "event_types"] = "transformation"


def hints_for(transformation: str, envelope: Envelope, body: bytes) -> Iterator[Hint]:
    """The hints for a transformation that made this body of this event."""
    compiled = compile_transformation(transformation)
    max_steps = TRANSFORMATION.steps(envelope.data)
    scope = Scope(envelope.tree, Budget(max_steps))
    for number, path in enumerate(compiled.omit):
        if not path.finds(scope):
            yield Hint(f"/omit/{number}", _nothing_at(path.text))
    tree = omit(compiled.omit, Scope(envelope.tree, Budget(max_steps))) if compiled.omit else envelope.tree
    scope = Scope(tree, Budget(max_steps))
    for path, _ in compiled.rename:
        if not path.finds(scope):
            yield Hint(pointer("/rename", path.text), _nothing_at(path.text))
    spec = loads(transformation.encode(), SPEC_LIMITS)
    if isinstance(spec, dict) and "map" in spec:
        yield from _left_out(spec["map"], loads(body, _BODY_LIMITS), "/map")


def hints_for_filter(text: str, envelope: Envelope) -> Iterator[Hint]:
    """The hints for a filter that does not want this event: the names in it that the event does not have."""
    scope = Scope(envelope.tree, Budget(2 * FILTER.steps(envelope.data)))  # it looks at each step twice
    nodes: list[Node] = [(envelope.tree, None, None)]
    for step in compile_filter(text).path.steps:
        values = [node[0] for node in nodes]
        if isinstance(step, Names):
            yield from _unknown(step.names, values)
        elif isinstance(step, Filter):
            tested = [node[0] for node in step.candidates(nodes, scope)]
            for path in wanted_paths(step.condition):
                yield from _unknown_on_the_way(path.keys or (), tested if path.level else [envelope.tree])
        nodes = step.apply(nodes, scope)


def _unknown_on_the_way(keys: Sequence[str | int], values: list[Value]) -> Iterator[Hint]:
    for key in keys:
        if isinstance(key, str):
            yield from _unknown([key], values)
        values = [found for value in values if (found := follow(value, [key])) is not MISSING]  # type: ignore[misc]


def _unknown(names: Sequence[str], values: list[Value]) -> Iterator[Hint]:
    """A hint if there are objects here, and none of them has one of these names."""
    objects = [value for value in values if isinstance(value, dict) and value]
    if objects and all(value.keys().isdisjoint(names) for value in objects):
        near = _near(names[0], islice(chain.from_iterable(objects), _KNOWN_NAMES))
        meant = f"; did you mean {near}?" if near else ""
        asked = " or ".join(names)
        yield Hint("", f"the filter asks for {asked}, which this event does not have there{meant}", "filter")


def _near(name: str, known: Iterator[str]) -> str:
    """The known name that looks most like this one; empty if none does."""
    if len(name) > _LONGEST_NAME:
        return ""
    near = get_close_matches(name, {one for one in known if len(one) <= _LONGEST_NAME}, n=1)
    return near[0] if near else ""


def _left_out(template: Value, made: Value, at: str) -> Iterator[Hint]:
    """The parts of a template that are missing in what it made."""
    if isinstance(template, dict):
        if not TAKES.keys().isdisjoint(template):
            yield from _left_out_of_each(template, made, at)
        elif isinstance(made, dict):
            yield from _left_out_of_object(template, made, at)
    elif isinstance(template, list) and isinstance(made, list):
        if len(made) < len(template):
            yield Hint(at, f"{len(template) - len(made)} of its {len(template)} elements have no value in this event")
            return
        for number, (part, value) in enumerate(zip(template, made, strict=True)):
            yield from _left_out(part, value, f"{at}/{number}")


def _left_out_of_object(template: dict[str, Value], made: dict[str, Value], at: str) -> Iterator[Hint]:
    for key, part in template.items():
        name, place = key[1:] if key.startswith("$$") else key, pointer(at, key)
        if name in made:
            yield from _left_out(part, made[name], place)
        else:
            message = _nothing_at(part) if isinstance(part, str) else "has no value in this event"
            yield Hint(place, f"{message}, so that {name} is left out")


def _left_out_of_each(call: dict[str, Value], made: Value, at: str) -> Iterator[Hint]:
    """The parts that all items lack. For other functions, the object around them shows whether they have a value."""
    if "$each" not in call or "$default" in call or not isinstance(made, list) or not made:
        return
    of_items = ({hint.path: hint for hint in _left_out(call["$to"], item, f"{at}/$to")} for item in made)
    of_all = next(of_items)
    for of_one in of_items:  # one after the other, because together they may need much room
        of_all = {path: hint for path, hint in of_all.items() if path in of_one}
    yield from of_all.values()


def _nothing_at(path: str) -> str:
    return f"{path} finds nothing in this event"
