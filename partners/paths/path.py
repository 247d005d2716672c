"""A compiled path. Plain ones, which are nearly all, have a fast evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

from partners.exact_json import Value
from partners.paths.steps import MISSING, Missing, Node, Scope, Step


@dataclass(frozen=True, slots=True)
class Path:
    """`level` says where it begins: 0 at `$`, 1 at `@`, 2 at `@@`. `keys` is set when the path is plain."""

    text: str
    level: int
    steps: tuple[Step, ...]
    keys: tuple[str | int, ...] | None

    @property
    def is_definite(self) -> bool:
        """It leads to one value at most: only names and positions, no `*`, `..`, slice, filter or list of names."""
        return self.keys is not None

    def first(self, scope: Scope) -> Value | Missing:
        """The value at the path: the first one if there are several, MISSING if there is none."""
        if self.keys is not None:
            return follow(self._start(scope), self.keys)
        nodes = self.nodes(scope)
        return nodes[0][0] if nodes else MISSING

    def finds(self, scope: Scope) -> bool:
        """Whether there is a value at the path, null included."""
        return self.first(scope) is not MISSING

    def all(self, scope: Scope) -> list[Value]:
        return [node[0] for node in self.nodes(scope)]

    def nodes(self, scope: Scope) -> list[Node]:
        return self.nodes_from(self._start(scope), scope)

    def nodes_from(self, start: Value, scope: Scope) -> list[Node]:
        nodes: list[Node] = [(start, None, None)]
        for step in self.steps:
            nodes = step.apply(nodes, scope)
            if not nodes:  # the other steps would find nothing and take nothing from the budget
                break
        return nodes

    def _start(self, scope: Scope) -> Value:
        return scope.items[-self.level] if self.level else scope.envelope


def follow(value: Value | Missing, keys: Sequence[str | int]) -> Value | Missing:
    """The fast evaluation of a plain path, which builds nothing."""
    for key in keys:
        if type(value) is dict:
            value = value.get(key, MISSING)  # type: ignore[arg-type]  # no position is a key
        elif type(value) is list and type(key) is int and -len(value) <= key < len(value):
            value = value[key]
        else:
            return MISSING
    return value
