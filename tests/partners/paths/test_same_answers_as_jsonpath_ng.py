"""Our evaluation, fast for plain paths, against the library's own parser and its own `find`."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonpath_ng.ext.parser import parse

from partners.budget import Budget
from partners.exact_json import dumps, loads
from partners.paths import Missing, Scope, compile_path

names = st.sampled_from(["a", "b", "c", "x-y", "_z"])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, -1.5]), st.sampled_from(["", "a", "b", "vip"])
)
documents: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=25,
)
indices = st.integers(-4, 4)
maybe = st.one_of(st.just(""), indices.map(str))
name_steps = st.one_of(names.map(lambda name: f".{name}"), names.map(lambda name: f"['{name}']"))
plain_steps = st.one_of(name_steps, indices.map(lambda index: f"[{index}]"))
slices = st.builds(lambda start, stop, step: f"[{start}:{stop}:{step}]", maybe, maybe, maybe.filter(lambda s: s != "0"))
lists_of_names = st.lists(names, min_size=2, max_size=3).map(
    lambda found: "[" + ",".join(f'"{n}"' for n in found) + "]"
)
lists_of_indices = st.lists(indices, min_size=2, max_size=3).map(lambda found: "[" + ",".join(map(str, found)) + "]")
any_steps = st.one_of(
    plain_steps, plain_steps, st.sampled_from(["[*]", ".*"]), slices, lists_of_names, lists_of_indices
)
literals = st.sampled_from(["1", "-2", "0.5", "'a'", '"vip"', "true", "false", "null"])
relative = st.lists(plain_steps, max_size=2).map(lambda steps: "@" + "".join(steps))
absolute = st.lists(plain_steps, max_size=2).map(lambda steps: "$" + "".join(steps))
conditions = st.one_of(
    st.one_of(relative, any_steps.map(lambda step: f"@{step}")),
    relative.map(lambda path: f"!{path}"),
    st.builds(
        lambda *parts: " ".join(parts),
        st.one_of(relative, any_steps.map(lambda step: f"@{step}"), absolute),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.one_of(literals, relative, absolute),
    ),
)
filters = st.one_of(
    conditions,
    st.lists(conditions, min_size=2, max_size=3).map(" && ".join),
    st.lists(conditions, min_size=2, max_size=3).map(" || ".join),
    st.tuples(conditions, conditions, conditions).map(lambda c: f"({c[0]} || {c[1]}) && {c[2]}"),
).map(lambda condition: f"[?({condition})]")


def ours(path: str, document: Any) -> list[Any]:
    exact = loads(json.dumps(document).encode())
    return [json.loads(dumps(value)) for value in compile_path(path).all(Scope(exact, Budget()))]


def theirs(path: str, document: Any) -> list[Any]:
    return [match.value for match in parse(path).find(document)]


def same(left: Any, right: Any) -> bool:
    return json.dumps(left) == json.dumps(right)


@given(steps=st.lists(plain_steps, max_size=5), document=documents)
def test_plain_paths_by_the_fast_evaluation(steps: list[str], document: Any) -> None:
    path = "$" + "".join(steps)
    first = compile_path(path).first(Scope(loads(json.dumps(document).encode()), Budget()))
    found = [] if isinstance(first, Missing) else [json.loads(dumps(first))]
    assert compile_path(path).is_definite
    assert same(found, theirs(path, document))
    assert same(ours(path, document), theirs(path, document))


@given(steps=st.lists(any_steps, max_size=5), document=documents)
def test_wildcards_slices_and_lists(steps: list[str], document: Any) -> None:
    path = "$" + "".join(steps)
    assert same(ours(path, document), theirs(path, document))


@given(
    before=st.lists(any_steps, max_size=2),
    after=st.one_of(names, st.just("*"), indices.map(lambda i: f"[{i}]"), st.just("[*]")),
    more=st.lists(any_steps, max_size=2),
    document=documents,
)
def test_descendants(before: list[str], after: str, more: list[str], document: Any) -> None:
    path = f"${''.join(before)}..{after}{''.join(more)}"
    assert same(ours(path, document), theirs(path, document))


@given(filter_=filters, more=st.lists(any_steps, max_size=2), document=st.lists(documents, max_size=5))
def test_filters_on_lists(filter_: str, more: list[str], document: list[Any]) -> None:
    path = f"${filter_}{''.join(more)}"
    assert same(ours(path, document), theirs(path, document))


@given(filter_=filters, document=documents)
def test_filters_at_any_depth(filter_: str, document: Any) -> None:
    path = f"$..{filter_}"
    assert same(ours(path, document), theirs(path, document))
