import json
from typing import Any

import pytest

from partners.errors import DataInvalid, JSONError, SchemaError
from partners.event_schemas import MAX_UNFOLDED, compile_schema

ORDER = {
    "type": "object",
    "required": ["id", "line_items"],
    "properties": {
        "id": {"type": "integer"},
        "line_items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "total": {"type": "number", "multipleOf": 0.01},
    },
    "$defs": {"item": {"type": "object", "properties": {"sku/~": {"type": "string", "maxLength": 3}}}},
}


def check(schema: Any, data: bytes) -> None:
    compile_schema(json.dumps(schema)).check(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":1,"line_items":[]}',
        b'{"id":123456789012345678901234567890,"line_items":[{"sku/~":"abc"}],"total":199.99}',
        b'{"id":1e400,"line_items":[],"more":0.1}',
    ],
)
def test_good_data_passes(data: bytes) -> None:
    check(ORDER, data)


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (b'{"line_items":[]}', "", '"id" is a required property'),
        (b'{"id":"1","line_items":[]}', "/id", 'is not of type "integer"'),
        (
            b'{"id":1,"line_items":[{},{"sku/~":"longer"}]}',
            "/line_items/1/sku~1~0",
            "longer than 3 characters",
        ),
        (b"[1e400]", "", 'is not of type "object"'),
    ],
)
def test_bad_data_is_refused_with_its_place(data: bytes, path: str, message: str) -> None:
    with pytest.raises(DataInvalid, match=message) as refused:
        check(ORDER, data)
    assert refused.value.path == path


def test_the_message_does_not_quote_the_data() -> None:
    with pytest.raises(DataInvalid) as refused:
        check({"properties": {"email": {"maxLength": 5}}}, b'{"email":"somebody@example.com"}')
    assert "somebody" not in str(refused.value)
    assert str(refused.value).startswith("/email: ")
    with pytest.raises(DataInvalid, match=r"^the data: "):
        check(False, b"{}")


@pytest.mark.parametrize("schema", [{"maximum": 5}, {"type": "string"}, {"multipleOf": 7}])
@pytest.mark.parametrize("data", [b"9" * 5000, b"1e9999999999999999999999"])
def test_a_number_that_cannot_be_checked_breaks_the_schema(schema: Any, data: bytes) -> None:
    with pytest.raises(DataInvalid):
        check(schema, data)


def test_data_that_is_not_json_is_the_producers_fault() -> None:
    with pytest.raises(JSONError):
        check(ORDER, b"{")


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ("", "", "not JSON"),
        ("\ud800", "", "not UTF-8"),
        ("[]", "", "expected a JSON Schema"),
        ('{"type":"object","type":"array"}', "", "the key 'type' is given twice"),
        ('{"a":' * 40 + "1" + "}" * 40, "", "too deep"),
        ('{"description":"' + "x" * 140_000 + '"}', "", "too large"),
        ('{"const":' + "9" * 5000 + "}", "", "a number is too large"),
        ('{"maximum":1e9999999999999999999999}', "", "a number is too large"),
        ('{"properties":{"a":{"type":"strin"}}}', "/properties/a/type", "is not valid"),
        ('{"$schema":5}', "/$schema", "only JSON Schema 2020-12"),
        ('{"$schema":"http://json-schema.org/draft-07/schema#"}', "/$schema", "only JSON Schema 2020-12"),
        ('{"$ref":"http://127.0.0.1:9/schema.json"}', "", "Retrieval is disabled"),
        ('{"$ref":"file:///etc/passwd"}', "", "Retrieval is disabled"),
        ('{"$ref":"#/$defs/nowhere"}', "", "does not exist"),
        ('{"pattern":"(?=a)b"}', "/pattern", "no look-around"),
        (r'{"pattern":"(a)\\1"}', "/pattern", "no back-references"),
        ('{"pattern":"(?:a{1,1000}){1,1000}"}', "/pattern", "regex"),
    ],
)
def test_a_wrong_schema_is_refused_with_the_place(schema: str, path: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as refused:
        compile_schema(schema)
    assert refused.value.path == path


def test_a_pattern_that_would_hang_other_engines_does_not_hang_this_one() -> None:
    with pytest.raises(DataInvalid):
        check({"pattern": "^(a+)+$"}, json.dumps("a" * 100_000 + "!").encode())


def test_a_schema_that_unfolds_to_a_million_checks_is_refused() -> None:
    definitions: dict[str, Any] = {"a0": {"type": "object"}}
    for number in range(1, 40):
        definitions[f"a{number}"] = {"allOf": [{"$ref": f"#/$defs/a{number - 1}"}] * 2}
    with pytest.raises(SchemaError, match=f"more than {MAX_UNFOLDED} parts"):
        compile_schema(json.dumps({"$defs": definitions, "$ref": "#/$defs/a39"}))


def test_a_schema_with_a_long_chain_of_references_is_refused() -> None:
    definitions: dict[str, Any] = {f"a{number}": {"$ref": f"#/$defs/a{number + 1}"} for number in range(2000)}
    with pytest.raises(SchemaError, match="too many checks"):
        compile_schema(json.dumps({"$ref": "#/$defs/a0", "$defs": {**definitions, "a2000": True}}))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"child": {"$ref": "#"}}},
        {"$defs": {"n": {"$anchor": "node", "items": {"$ref": "#node"}}}, "$ref": "#node"},
        {"$dynamicAnchor": "n", "items": {"$dynamicRef": "#n"}},
        {"allOf": [{"type": "object"}], "properties": {"x": {"$ref": "#/allOf/0"}}},
        {"$defs": {"a/b": {"type": "object"}}, "$ref": "#/$defs/a~1b"},
        {"properties": {"meta": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}},
        {"enum": [{"$ref": 5}], "const": [[]]},
        {"properties": {"x": {"$ref": "https://json-schema.org/draft/2020-12/meta/core#/properties/$id"}}},
        {"properties": {"x": {"$ref": "https://json-schema.org/draft/2020-12/schema#/allOf/0"}}},
        True,
    ],
)
def test_references_within_the_schema_are_fine(schema: Any) -> None:
    compile_schema(json.dumps(schema))


def test_a_schema_is_compiled_once() -> None:
    assert compile_schema('{"title":"once"}') is compile_schema('{"title":"once"}')
