"""The parts of a compiled template: functions from a scope (event, surrounding items, budget) to a value.

Missing is not null: a missing value is left out of the object or list around it.
"""

from collections.abc import Sequence

from partners.exact_json import Value
from partners.mapping.functions import Function, NotPossible, joined_by, kind
from partners.mapping.output import Build, Built, ListOf, ValueOf
from partners.paths import MISSING, Missing, Path, Scope

_join_directly = joined_by("")


def constant(value: Value) -> ValueOf:
    def value_of(scope: Scope) -> Value:
        scope.budget.take(1)
        return value

    return value_of


def first_at(path: Path) -> ValueOf:
    def value_of(scope: Scope) -> Value | Missing:
        scope.budget.take(1)
        return path.first(scope)

    return value_of


def all_at(path: Path) -> ValueOf:
    def value_of(scope: Scope) -> Value:
        return path.all(scope)

    return value_of


def object_of(fields: Sequence[tuple[str, Build]]) -> Build:
    size = sum(len(name) + 4 for name, _ in fields) + 2

    def build(scope: Scope) -> Built:
        scope.budget.take(1)
        scope.budget.keep(size)
        made = {}
        for name, build_field in fields:
            value = build_field(scope)
            if value is not MISSING:
                made[name] = value
        return made  # type: ignore[return-value]

    return build


def list_of(elements: Sequence[Build]) -> Build:
    size = len(elements) + 2

    def build(scope: Scope) -> Built:
        scope.budget.take(1)
        scope.budget.keep(size)
        made = [build_element(scope) for build_element in elements]
        return [value for value in made if value is not MISSING]  # type: ignore[misc]

    return build


def each(items_of: ListOf, build_item: Build) -> Build:
    def build(scope: Scope) -> Built:
        items = items_of(scope)
        if items is None or isinstance(items, Missing):
            return items
        scope.budget.take(len(items) + 1)
        scope.budget.keep(len(items) + 2)
        made = [build_item(scope.with_item(item)) for item in items]
        return [value for value in made if value is not MISSING]  # type: ignore[misc]

    return build


def if_found(condition: Path, then: Build, otherwise: Build) -> Build:
    def build(scope: Scope) -> Built:
        scope.budget.take(1)
        return then(scope) if condition.finds(scope) else otherwise(scope)

    return build


def nothing(scope: Scope) -> Missing:
    return MISSING


def coalesce(choices: Sequence[Build]) -> Build:
    """The first value that is neither missing nor null; else null if there was one; else missing."""

    def build(scope: Scope) -> Built:
        last: Built = MISSING
        for choice in choices:
            value = choice(scope)
            if value is not None and value is not MISSING:
                return value
            last = None if value is None else last
        return last

    return build


def with_default(build: Build, default: Build) -> Build:
    """The default if the value is missing, or if a function inside raises NotPossible."""

    def build_or_default(scope: Scope) -> Built:
        try:
            value = build(scope)
        except NotPossible:
            value = MISSING
        return default(scope) if value is MISSING else value

    return build_or_default


def call(function: Function, argument: ValueOf, at: str) -> ValueOf:
    """Calls a function with one value. Null stays null, missing stays missing."""

    def value_of(scope: Scope) -> Value | Missing:
        value = argument(scope)
        if value is None or isinstance(value, Missing):
            return value
        scope.budget.take(1)
        try:
            return function(value, scope.budget)
        except NotPossible as problem:
            raise problem.at(at) from None

    return value_of


def list_at(path: Path, at: str) -> ListOf:
    """All matches of a path that may have several; else the value at the path, which must be a list."""
    if not path.is_definite:
        return path.all
    return expect_list(first_at(path), at)


def expect_list(value_of: ValueOf, at: str) -> ListOf:
    def items(scope: Scope) -> list[Value] | Missing | None:
        value = value_of(scope)
        if value is None or isinstance(value, (list, Missing)):
            return value
        raise NotPossible("not_a_list", f"{kind(value)} where a list was expected").at(at)

    return items


def element(items_of: ListOf, index: int) -> ValueOf:
    """The first or the last element; missing if the list is empty."""

    def value_of(scope: Scope) -> Value | Missing:
        items = items_of(scope)
        if items is None or isinstance(items, Missing):
            return items
        return items[index] if items else MISSING

    return value_of


def concat(parts: Sequence[ValueOf]) -> ValueOf:
    def value_of(scope: Scope) -> Value:
        values = [part(scope) for part in parts]
        return _join_directly([value for value in values if not isinstance(value, Missing)], scope.budget)

    return value_of


def factors(parts: Sequence[ValueOf]) -> ValueOf:
    """All factors; but missing if one is missing, else null if one is null."""

    def value_of(scope: Scope) -> Value | Missing:
        values = [part(scope) for part in parts]
        present = [value for value in values if not isinstance(value, Missing)]
        if len(present) < len(values):
            return MISSING
        return None if None in present else present

    return value_of


def count(value_of: ValueOf, at: str) -> ValueOf:
    def counted(scope: Scope) -> Value | Missing:
        value = value_of(scope)
        if value is None or isinstance(value, Missing):
            return value
        if isinstance(value, (list, dict)):
            return len(value)
        raise NotPossible("not_a_list", f"{kind(value)} where a list or an object was expected").at(at)

    return counted


def merge(parts: Sequence[ValueOf], at: str) -> ValueOf:
    """The last value of a key wins, in the place of the first. Missing and null parts are skipped."""

    def value_of(scope: Scope) -> Value:
        merged: dict[str, Value] = {}
        for part in parts:
            value = part(scope)
            if isinstance(value, dict):
                scope.budget.take(len(value))
                merged.update(value)
            elif value is not None and not isinstance(value, Missing):
                raise NotPossible("not_an_object", f"{kind(value)} where an object was expected").at(at)
        return merged

    return value_of
