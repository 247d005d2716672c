"""What `omit` and `rename` do, through whole transformations."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpath_ng.ext.parser import parse

from partners.envelope import Envelope
from partners.exact_json import dumps
from partners.transform import compile_transformation


def edited(data: str, **spec: Any) -> str:
    """The data after the edit, as text."""
    envelope = Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", data.encode())
    before = dumps(envelope.tree)
    body = compile_transformation(json.dumps(spec | {"map": "$.data"})).apply(envelope)
    assert dumps(envelope.tree) == before
    return body.decode()


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["$.data.b"], '{"a":1,"l":[{"x":1,"y":2},{"x":3}],"n":null}'),
        (["$.data.zz", "$.data.a.deep", "$.data.l[9]"], '{"a":1,"b":{"x":0},"l":[{"x":1,"y":2},{"x":3}],"n":null}'),
        (["$.data.n", "$.data.b.x"], '{"a":1,"b":{},"l":[{"x":1,"y":2},{"x":3}]}'),
        (["$.data.l[*].x"], '{"a":1,"b":{"x":0},"l":[{"y":2},{}],"n":null}'),
        (["$..x"], '{"a":1,"b":{},"l":[{"y":2},{}],"n":null}'),
        (["$.data.l[0]"], '{"a":1,"b":{"x":0},"l":[{"x":3}],"n":null}'),
        (["$.data.l[0]", "$.data.l[1]"], '{"a":1,"b":{"x":0},"l":[],"n":null}'),
        (["$.data.l[-1]"], '{"a":1,"b":{"x":0},"l":[{"x":1,"y":2}],"n":null}'),
        (["$.data.l[*]"], '{"a":1,"b":{"x":0},"l":[],"n":null}'),
        (["$.data.*"], "{}"),
        (["$.data.l[?(@.x > 2)]"], '{"a":1,"b":{"x":0},"l":[{"x":1,"y":2}],"n":null}'),
        (["$.data.b[?(@.x == 0)]"], '{"a":1,"l":[{"x":1,"y":2},{"x":3}],"n":null}'),
        (["$.data['a','n']"], '{"b":{"x":0},"l":[{"x":1,"y":2},{"x":3}]}'),
        (["$.data.b", "$.data.b.x"], '{"a":1,"l":[{"x":1,"y":2},{"x":3}],"n":null}'),
    ],
)
def test_omit(paths: list[str], expected: str) -> None:
    assert edited('{"a":1,"b":{"x":0},"l":[{"x":1,"y":2},{"x":3}],"n":null}', omit=paths) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"$.data.a": "z"}, '{"z":1,"b":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.zz": "z"}, '{"a":1,"b":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.l[*].x": "y"}, '{"a":1,"b":2,"l":[{"y":1},{"y":2}]}'),
        ({"$.data.l[1].x": "y"}, '{"a":1,"b":2,"l":[{"x":1},{"y":2}]}'),
        ({"$..x": "y"}, '{"a":1,"b":2,"l":[{"y":1},{"y":2}]}'),
        ({"$.data.b": "a"}, '{"a":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.a": "b"}, '{"b":1,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.a": "b", "$.data.b": "a"}, '{"b":1,"a":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.a": "b", "$.data.b": "c"}, '{"b":1,"c":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.a": "z", "$.data.b": "z"}, '{"z":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.b": "z", "$.data.a": "z"}, '{"z":1,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.a": "a"}, '{"a":1,"b":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.a": "y", "$..a": "z"}, '{"z":1,"b":2,"l":[{"x":1},{"x":2}]}'),
        ({"$.data.l": "items", "$.data.l[*].x": "y"}, '{"a":1,"b":2,"items":[{"y":1},{"y":2}]}'),
        ({"$.data.a": "$a.b c"}, '{"$a.b c":1,"b":2,"l":[{"x":1},{"x":2}]}'),
    ],
)
def test_rename(names: dict[str, str], expected: str) -> None:
    assert edited('{"a":1,"b":2,"l":[{"x":1},{"x":2}]}', rename=names) == expected


def test_omit_comes_first_then_rename_then_map() -> None:
    envelope = Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", b'{"a":1,"b":2}')
    spec = {"map": {"b": "$.data.b", "was": "$.data.a"}, "rename": {"$.data.a": "b"}, "omit": ["$.data.b"]}
    assert compile_transformation(json.dumps(spec)).apply(envelope) == b'{"b":1}'


def test_without_a_map_the_whole_envelope_is_sent() -> None:
    envelope = Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", b'{"a": 1.10, "b": 2}')
    spec = {"omit": ["$.data.b", "$.timestamp"], "rename": {"$.type": "topic"}}
    body = compile_transformation(json.dumps(spec)).apply(envelope)
    assert body == b'{"id":"evt_1","topic":"orders.created","data":{"a":1.10}}'


names = st.sampled_from(["a", "b", "c"])
documents: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner)),
    max_leaves=15,
)
steps = st.sampled_from([".a", ".b", ".c", "[0]", "[1]", "[-1]", "[*]", "[0:2]"])
paths = st.lists(steps, min_size=1, max_size=3).map(lambda found: "$.data" + "".join(found))


@given(data=documents, omitted=st.lists(paths, max_size=3))
def test_the_order_of_the_paths_does_not_matter(data: Any, omitted: list[str]) -> None:
    raw = json.dumps(data)
    assert edited(raw, omit=omitted) == edited(raw, omit=omitted[::-1])


@given(data=documents, path=paths)
def test_omitting_one_path_is_what_jsonpath_ng_does(data: Any, path: str) -> None:
    ours = json.loads(edited(json.dumps(data), omit=[path]))
    theirs: Any = parse(path).filter(lambda _: True, {"data": data})
    assert ours == theirs["data"]
