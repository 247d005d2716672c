"""The conditions inside `[?(...)]`, which test one candidate."""

from collections.abc import Iterator
from dataclasses import dataclass

from partners.exact_json import Value
from partners.paths.comparisons import holds
from partners.paths.path import Path, follow
from partners.paths.steps import Condition, Missing, Scope


@dataclass(frozen=True, slots=True)
class Query:
    """A path inside a condition: `@` is the candidate, `$` the envelope."""

    path: Path

    def values(self, candidate: Value, scope: Scope) -> list[Value]:
        start = candidate if self.path.level else scope.envelope
        if self.path.keys is not None:
            scope.budget.take(1)
            value = follow(start, self.path.keys)
            return [] if isinstance(value, Missing) else [value]
        return [node[0] for node in self.path.nodes_from(start, scope)]


@dataclass(frozen=True, slots=True)
class Exists:
    """`[?(@.email)]`: something is found, null included. `[?(!@.email)]`, if not `expected`: nothing is found."""

    query: Query
    expected: bool

    def test(self, candidate: Value, scope: Scope) -> bool:
        return bool(self.query.values(candidate, scope)) is self.expected


@dataclass(frozen=True, slots=True)
class CompareLiteral:
    """True if it holds for any of the values found. If there are none, only `!=` is true."""

    query: Query
    op: str
    literal: Value

    def test(self, candidate: Value, scope: Scope) -> bool:
        found = self.query.values(candidate, scope)
        if not found:
            return self.op == "!="
        return any(holds(self.op, value, self.literal, scope.budget) for value in found)


@dataclass(frozen=True, slots=True)
class CompareQuery:
    """Compares two paths. A path that finds nothing equals only another that finds nothing."""

    left: Query
    op: str
    right: Query

    def test(self, candidate: Value, scope: Scope) -> bool:
        left, right = self.left.values(candidate, scope), self.right.values(candidate, scope)
        if not left or not right:
            both_missing = not left and not right
            return not both_missing if self.op == "!=" else both_missing and "=" in self.op
        return any(holds(self.op, value, right[0], scope.budget) for value in left)


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple[Condition, ...]

    def test(self, candidate: Value, scope: Scope) -> bool:
        return all(condition.test(candidate, scope) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple[Condition, ...]

    def test(self, candidate: Value, scope: Scope) -> bool:
        return any(condition.test(candidate, scope) for condition in self.conditions)


def wanted_paths(condition: Condition) -> Iterator[Path]:
    """The paths of a condition that should find something."""
    match condition:
        case AllOf() | AnyOf():
            for inner in condition.conditions:
                yield from wanted_paths(inner)
        case Exists(expected=True) | CompareLiteral():
            yield condition.query.path
        case CompareQuery():
            yield from (condition.left.path, condition.right.path)
