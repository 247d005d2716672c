import pytest

from partners.catalogue import MAX_ENTRIES, CatalogueEntry, parse_catalogue
from partners.errors import CatalogueError

YAML = b"""
# The orders of the shop
event_types:
  - name: orders.created
    description: >
      An order
      was placed.
    version: 2
    on_schema_error: refuse
    schema:
      type: object
      required: [id]
      properties:
        id: {type: integer}
        country: {enum: ["NO", "no"]}
    sample: {id: 82098291194615450899, total: 1.10, rate: 1e2, country: no, at: 2026-01-02, note: ~, ok: true, z: 0123}
  - name: ping
    deprecated: true
"""

JSON = b"""{"event_types": [
  {"name": "orders.created", "schema": {"required": ["id"]}, "sample": {"id": 1.10}},
  {"name": "ping", "description": "Are you there?", "on_schema_error": "flag", "deprecated": false}
]}"""


def test_yaml_is_read_without_surprises() -> None:
    orders, ping = parse_catalogue(YAML, "events.yaml")
    assert orders == CatalogueEntry(
        name="orders.created",
        description="An order was placed.",
        version=2,
        on_schema_error="refuse",
        schema='{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},"country":{"enum":["NO","no"]}}}',
        sample='{"id":82098291194615450899,"total":1.10,"rate":1e2,"country":"no","at":"2026-01-02","note":null,"ok":true,'
        '"z":"0123"}',
    )
    assert ping == CatalogueEntry(name="ping", is_deprecated=True)


def test_json_is_read_too() -> None:
    assert parse_catalogue(JSON, "EVENTS.JSON") == (
        CatalogueEntry(name="orders.created", schema='{"required":["id"]}', sample='{"id":1.10}'),
        CatalogueEntry(name="ping", description="Are you there?"),
    )
    assert parse_catalogue(JSON, "events.yml") == parse_catalogue(JSON, "events.json")


def test_a_surrogate_pair_is_one_character_as_in_json() -> None:
    (entry,) = parse_catalogue(b'{"event_types": [{"name": "ping", "sample": "\\uD83D\\uDE00"}]}', "events.yaml")
    assert entry.sample == '"\N{GRINNING FACE}"'


def test_an_empty_list_is_a_catalogue() -> None:
    assert parse_catalogue(b"event_types: []", "x.yaml") == ()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected an object with `event_types`"),
        (b"- name: x", "expected an object with `event_types`"),
        (b"event_types: []\nmore: 1", "and nothing else"),
        (b"event_types: {}", "/event_types: expected a list"),
        (b"event_types: [1]", "/event_types/0: expected an event type"),
        (b"event_types: [{name: a}, {nam: b}]", "/event_types/1/nam: unknown; did you mean name?"),
        (b"event_types: [{name: a, zzz: b}]", "/event_types/0/zzz: unknown; the keys are name, description"),
        (b"event_types: [{name: a.b, category: a}]", "the category is the part of the name before the first dot"),
        (b"event_types: [{description: a}]", "/event_types/0/name: every event type needs a name"),
        (b"event_types: [{name: 5}]", "/event_types/0/name: every event type needs a name"),
        (b"event_types: [{name: a/b}]", "/event_types/0/name: .*write `a.b`"),
        (b"event_types: [{name: a, description: 5}]", "/event_types/0/description: expected text"),
        (b'event_types: [{name: a, description: "\\0"}]', "/event_types/0/description: expected text"),
        (b"event_types: [{name: a, version: 0}]", "/event_types/0/version: expected a whole number from 1"),
        (b"event_types: [{name: a, version: true}]", "/event_types/0/version: expected a whole number"),
        (b"event_types: [{name: a, deprecated: yes}]", "/event_types/0/deprecated: expected true or false"),
        (b"event_types: [{name: a, on_schema_error: drop}]", "/event_types/0/on_schema_error: expected refuse or flag"),
        (b"event_types: [{name: a, schema: {type: strin}}]", "/event_types/0/schema/type: .*not valid"),
        (b"event_types: [{name: a, schema: {type: object}, sample: []}]", "/event_types/0/sample: breaks the schema"),
        (
            b"event_types: [{name: a, schema: {properties: {x: {type: string}}}, sample: {x: 1}}]",
            "/event_types/0/sample/x: breaks the schema: the value is not of type",
        ),
        (b"event_types: [{name: a}, {name: b}, {name: a}]", "/event_types/2/name: a is given twice, .*/event_types/0"),
        (b"event_types:\n  - name: a\n    name: b", "the key 'name' is given twice, at line 3 column 5"),
        (b"event_types: [{name: a, sample: &x [1], schema: *x}]", "aliases are not supported; .* at line 1"),
        (b"event_types: [{name: !!python/name:os.system x}]", "tags such as .* are not supported, at line 1 column 22"),
        (b"event_types: [{[a]: 1}]", "a key must be text, at line 1"),
        (b"event_types: " + b"[" * 60 + b"]" * 60, "too deep, at line 1"),
        (b"event_types: " + b"[" * 5000 + b"]" * 5000, "too deep"),
        (b"event_types: [", "not YAML: .*line 1, column 15"),
        (b"event_types: \xff", "not UTF-8: .* at byte 13"),
        (b'event_types: [{name: a, description: "\\U00110000"}]', "not Unicode"),
        (b'event_types: [{name: a, description: "\\UFFFFFFFF"}]', "not Unicode"),
        (b'event_types: [{name: a, description: "\\uD800"}]', "half a surrogate pair .* at line 1 column 38"),
        (b'event_types: [{name: a, sample: ["\\uD800"]}]', "half a surrogate pair .* at line 1 column 34"),
        (b'event_types: [{name: a, sample: {"\\uD800": 1}}]', "half a surrogate pair .* at line 1 column 34"),
        (b"#" * 2_000_001, "too large"),
        (b"event_types: [" + b"1," * (MAX_ENTRIES + 1) + b"]", "at most 5000 event types, not 5001"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(raw: bytes, message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        parse_catalogue(raw, "events.yaml")


@pytest.mark.parametrize(
    ("raw", "message"), [(b"{", "line 1 column 2"), (b'{"event_types":[],"event_types":[]}', "is given twice")]
)
def test_wrong_json_is_refused_with_the_place(raw: bytes, message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        parse_catalogue(raw, "events.json")
