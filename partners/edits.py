"""`omit` and `rename`: a copy of the event without some values, or with other keys.

All paths of an edit are looked up before anything changes, so no path affects what another one finds: removing an
element does not move the next one. The given value is never changed: containers around a change are copied, all else
is shared.
"""

from collections.abc import Sequence

from partners.budget import Budget
from partners.exact_json import Value
from partners.paths import Node, Path, Scope


def omit(paths: Sequence[Path], scope: Scope) -> Value:
    """Removes what the paths find. Lists close up; a path may find nothing."""
    gone: dict[int, set[str | int]] = {}
    touched: set[int] = set()
    for path in paths:
        for _, key, parent in path.nodes(scope):
            assert parent is not None
            assert key is not None
            gone.setdefault(id(parent[0]), set()).add(key)
            _touch(parent, touched)
    return _without(scope.envelope, gone, touched, scope.budget)


def rename(names: Sequence[tuple[Path, str]], scope: Scope) -> Value:
    """Renames keys in place. A renamed key replaces one of that name; of two renamed alike, the later rule wins."""
    renamed: dict[int, dict[str | int, tuple[int, str]]] = {}
    touched: set[int] = set()
    for rank, (path, name) in enumerate(names):
        for _, key, parent in path.nodes(scope):
            assert parent is not None
            assert key is not None
            renamed.setdefault(id(parent[0]), {})[key] = (rank, name)
            _touch(parent, touched)
    return _under_new_names(scope.envelope, renamed, touched, scope.budget)


def _touch(node: Node | None, touched: set[int]) -> None:
    """Marks this container and all around it to be copied."""
    while node is not None and id(node[0]) not in touched:
        touched.add(id(node[0]))
        node = node[2]


def _without(value: Value, gone: dict[int, set[str | int]], touched: set[int], budget: Budget) -> Value:
    if id(value) not in touched:
        return value
    dropped = gone.get(id(value), ())
    if isinstance(value, dict):
        budget.take(len(value))
        return {k: _without(v, gone, touched, budget) for k, v in value.items() if k not in dropped}
    assert isinstance(value, list)
    budget.take(len(value))
    return [_without(v, gone, touched, budget) for at, v in enumerate(value) if at not in dropped]


def _under_new_names(
    value: Value, renamed: dict[int, dict[str | int, tuple[int, str]]], touched: set[int], budget: Budget
) -> Value:
    if id(value) not in touched:
        return value
    if isinstance(value, list):
        budget.take(len(value))
        return [_under_new_names(v, renamed, touched, budget) for v in value]
    assert isinstance(value, dict)
    budget.take(len(value))
    rules = renamed.get(id(value), {})
    claims = {name: key for key, (_, name) in sorted(rules.items(), key=lambda rule: rule[1][0])}
    copy: dict[str, Value] = {}
    for key, inner in value.items():
        name = rules[key][1] if key in rules else key
        if claims.get(name, key) == key:
            copy[name] = _under_new_names(inner, renamed, touched, budget)
    return copy
