"""Places values into the output, and takes the room for them from the budget.

The value of a template is either *placed*, becoming part of the output, or the argument of a function. A placed value
takes its room at once, and lists and objects are serialized right then (as a `Fragment`), so an output that would be
too large is never built.
"""

from collections.abc import Callable
from typing import TypeAlias

import orjson

from partners.exact_json import Number, Value, dumps
from partners.mapping.functions import weigh
from partners.paths import Missing, Path, Scope

Built: TypeAlias = Value | Missing | orjson.Fragment
Build: TypeAlias = Callable[[Scope], Built]
ValueOf: TypeAlias = Callable[[Scope], Value | Missing]
ListOf: TypeAlias = Callable[[Scope], list[Value] | Missing | None]


def placed(value_of: ValueOf, checked: bool) -> Build:
    """`checked`: a part may be repeated many times in the value, so its size is checked before it is serialized."""

    def build(scope: Scope) -> Built:
        return place(value_of(scope), scope, checked)

    return build


def place(value: Value | Missing, scope: Scope, checked: bool) -> Built:
    if isinstance(value, (dict, list)):
        if checked:
            weigh(value, scope.budget)
        raw = dumps(value)
        scope.budget.keep(len(raw))
        return orjson.Fragment(raw)
    if type(value) is str:
        scope.budget.keep(len(value) + 3)
    else:
        scope.budget.keep(len(value.text) if type(value) is Number else 5)
    return value


def all_placed(path: Path, checked: bool) -> Build:
    """Places matches one by one, because one may contain another."""

    def build(scope: Scope) -> Built:
        return [place(value, scope, checked) for value in path.all(scope)]  # type: ignore[misc]

    return build
