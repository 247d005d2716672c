"""Compiles a template into the function that builds the output from an event.

Everything that does not depend on the event is checked here. Every error has its place, a JSON pointer into the
specification, and says what to write instead.
"""

import re

from partners.errors import SpecError
from partners.exact_json import Value
from partners.json_pointer import pointer
from partners.mapping import nodes
from partners.mapping.call import Call, Items, is_straight
from partners.mapping.calls import compile_call
from partners.mapping.functions import kind
from partners.mapping.output import Build, ValueOf, placed
from partners.paths import Path, compile_path

MAX_NODES = 1_000
MAX_PATHS = 200

_LOOKS_LIKE_A_PATH = re.compile(r"(?:\$|@+)(?:[.\[]|\Z)")


class TemplateCompiler:
    """Compiles one specification and counts its paths and parts. `at` is always the place in it."""

    def __init__(self) -> None:
        self.nodes = 0
        self.paths = 0

    def path(self, text: Value, at: str, items: Items = ()) -> Path:
        if not isinstance(text, str):
            raise SpecError(f"expected a path in quotes, not {kind(text)}", at)
        self.paths += 1
        if self.paths > MAX_PATHS:
            raise SpecError(f"more than {MAX_PATHS} paths", at)
        try:
            return compile_path(text, len(items))
        except SpecError as error:
            raise SpecError(error.message, at) from None

    def output(self, template: Value, at: str) -> Build:
        """A template whose value becomes part of the output."""
        return self.template(template, at, (), into_output=True)

    def value(self, template: Value, at: str, items: Items) -> ValueOf:
        """A template whose value is for a function."""
        return self.template(template, at, items, into_output=False)  # type: ignore[return-value]  # no fragments then

    def template(self, template: Value, at: str, items: Items, into_output: bool) -> Build:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise SpecError(f"a template has at most {MAX_NODES} parts", at)
        if isinstance(template, dict):
            if any(key.startswith("$") and not key.startswith("$$") for key in template):
                return self._function(template, at, items, into_output)
            return self._object(template, at, items, into_output)
        if isinstance(template, list):
            inner = [self.template(part, f"{at}/{n}", items, into_output) for n, part in enumerate(template)]
            return nodes.list_of(inner)
        if isinstance(template, str) and _LOOKS_LIKE_A_PATH.match(template):
            path = self._template_path(template, at, items)
            return self.leaf(nodes.first_at(path), into_output, checked=not is_straight(path, items))
        return self.leaf(nodes.constant(template), into_output)

    def _template_path(self, text: str, at: str, items: Items) -> Path:
        try:
            return self.path(text, at, items)
        except SpecError as error:
            hint = f'{error.message}. (If this is meant as text, write {{"$value": ...}})'
            raise SpecError(hint, at) from None

    def _object(self, template: dict[str, Value], at: str, items: Items, into_output: bool) -> Build:
        names = [key[1:] if key.startswith("$$") else key for key in template]
        inner = [self.template(part, pointer(at, key), items, into_output) for key, part in template.items()]
        return nodes.object_of(list(zip(names, inner, strict=True)))

    def leaf(self, value_of: ValueOf, into_output: bool, checked: bool = False) -> Build:
        return placed(value_of, checked) if into_output else value_of

    def _function(self, spec: dict[str, Value], at: str, items: Items, into_output: bool) -> Build:
        build = compile_call(Call(self, spec, at, items, into_output))
        if "$default" not in spec:
            return build
        return nodes.with_default(build, self.template(spec["$default"], f"{at}/$default", items, into_output))
