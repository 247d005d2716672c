"""The steps of a compiled path. Each makes the next nodes from the nodes that were found so far.

A node is `(value, key, parent node)`, so that the value found can also be removed or renamed in its place. Every step
takes its work from the `Budget`: a path on a hostile event ends with TransformError, never with a hung worker. The
rules are those of jsonpath-ng (and of RFC 9535), with one deliberate exception: a filter on an object tests the object
itself (`Filter`). Nothing here changes a value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, final

from partners.budget import Budget
from partners.exact_json import Value


@final
class Missing:
    """The result of a path that finds nothing. It is not null, which is a value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()

Node: TypeAlias = tuple[Value, str | int | None, "Node | None"]


class Scope:
    """The values at which paths begin: `$` at the envelope, `@` at the innermost item, `@@` at the one around it."""

    __slots__ = ("budget", "envelope", "items")

    def __init__(self, envelope: Value, budget: Budget, items: tuple[Value, ...] = ()) -> None:
        self.envelope = envelope
        self.budget = budget
        self.items = items

    def with_item(self, item: Value) -> "Scope":
        return Scope(self.envelope, self.budget, (*self.items, item))


class Step(Protocol):
    def apply(self, nodes: list[Node], scope: Scope) -> list[Node]: ...


@dataclass(frozen=True, slots=True)
class Names:
    """`.name`, `['name']`, `['one','other']`."""

    names: tuple[str, ...]

    def apply(self, nodes: list[Node], scope: Scope) -> list[Node]:
        scope.budget.take(len(nodes) * len(self.names))
        return [
            (node[0][name], name, node)
            for node in nodes
            if type(node[0]) is dict
            for name in self.names
            if name in node[0]
        ]


@dataclass(frozen=True, slots=True)
class Indices:
    """`[0]`, `[-1]`, `[0,2]`: of lists only."""

    indices: tuple[int, ...]

    def apply(self, nodes: list[Node], scope: Scope) -> list[Node]:
        scope.budget.take(len(nodes) * len(self.indices))
        return [
            (node[0][index], index % len(node[0]), node)
            for node in nodes
            if type(node[0]) is list
            for index in self.indices
            if -len(node[0]) <= index < len(node[0])
        ]


@dataclass(frozen=True, slots=True)
class Slice:
    """`[1:3]`, `[-2:]`, `[::2]`: of lists only."""

    start: int | None
    stop: int | None
    step: int | None

    def apply(self, nodes: list[Node], scope: Scope) -> list[Node]:
        found: list[Node] = []
        for node in nodes:
            value = node[0]
            if type(value) is list:
                positions = range(len(value))[self.start : self.stop : self.step]
                scope.budget.take(len(positions))
                found.extend((value[at], at, node) for at in positions)
        scope.budget.take(len(nodes))
        return found


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`[*]` and `.*`: every element of a list, every value of an object."""

    def apply(self, nodes: list[Node], scope: Scope) -> list[Node]:
        scope.budget.take(len(nodes))
        return [child for node in nodes for child in children(node, scope.budget)]


@dataclass(frozen=True, slots=True)
class Descend:
    """`..`: the lists and objects at any depth, outer before inner, in the order of the document."""

    def apply(self, nodes: list[Node], scope: Scope) -> list[Node]:
        found: list[Node] = []
        stack = nodes[::-1]
        while stack:
            node = stack.pop()
            inner = children(node, scope.budget)
            if inner or isinstance(node[0], (list, dict)):
                found.append(node)
                stack.extend(reversed(inner))
        return found


class Condition(Protocol):
    def test(self, candidate: Value, scope: Scope) -> bool: ...


@dataclass(frozen=True, slots=True)
class Filter:
    """`[?(...)]`: the elements of a list that pass; an object, if the object itself passes.

    After `..` (`of_children`) it tests every value inside, at any depth.
    """

    condition: Condition
    of_children: bool

    def apply(self, nodes: list[Node], scope: Scope) -> list[Node]:
        return [one for one in self.candidates(nodes, scope) if self.condition.test(one[0], scope)]

    def candidates(self, nodes: list[Node], scope: Scope) -> Iterator[Node]:
        """What it tests."""
        for node in nodes:
            scope.budget.take(1)
            if type(node[0]) is dict and not self.of_children:
                yield node
            else:
                yield from children(node, scope.budget)


def children(node: Node, budget: Budget) -> list[Node]:
    value = node[0]
    if type(value) is dict:
        budget.take(len(value))
        return [(child, key, node) for key, child in value.items()]
    if type(value) is list:
        budget.take(len(value))
        return [(child, at, node) for at, child in enumerate(value)]
    return []
