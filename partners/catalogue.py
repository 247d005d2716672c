"""Reads the event catalogue from a YAML or JSON file, and checks it.

    event_types:
      - name: orders.created
        description: An order was placed.
        version: 2                  # optional, 1
        deprecated: false           # optional, false
        on_schema_error: refuse     # optional: refuse or flag (the default)
        schema: {type: object, required: [id]}
        sample: {id: 820982911946154508, total_price: "199.00"}

The command `event_types` writes the entries to the database. YAML is read as JSON with less punctuation: there are no
tags, no aliases (use `$ref`) and no dates, `no` is text, and numbers keep their spelling. A repeated key is an error,
and so is a sample that breaks its schema.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import yaml

from partners.errors import CatalogueError, DataInvalid, JSONError, PatternError, SchemaError
from partners.event_schemas import compile_schema
from partners.exact_json import Limits, Value, dumps, loads, loads_unique
from partners.patterns import check_event_type

FILE_LIMITS = Limits(max_bytes=2_000_000, max_depth=40)
MAX_ENTRIES = 5_000
MAX_DESCRIPTION_CHARS = 5_000

_KEYS = ("name", "description", "version", "deprecated", "on_schema_error", "schema", "sample")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN_WORDS: dict[str, Value] = {"": None, "~": None, "null": None, "true": True, "false": False}
_STANDARD_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One event type, with the columns of the table: schema and sample are JSON text, empty if there is none."""

    name: str
    description: str = ""
    version: int = 1
    is_deprecated: bool = False
    on_schema_error: Literal["refuse", "flag"] = "flag"
    schema: str = ""
    sample: str = ""


def parse_catalogue(raw: bytes, file_name: str) -> tuple[CatalogueEntry, ...]:
    """The entries in the order of the file; JSON when the name ends in `.json`, else YAML. Raises CatalogueError."""
    document = _read_json(raw) if file_name.lower().endswith(".json") else _read_yaml(raw)
    if not isinstance(document, dict) or list(document) != ["event_types"]:
        raise CatalogueError("expected an object with `event_types` and nothing else")
    entries = document["event_types"]
    if not isinstance(entries, list):
        raise CatalogueError("expected a list of event types", "/event_types")
    if len(entries) > MAX_ENTRIES:
        raise CatalogueError(f"at most {MAX_ENTRIES} event types, not {len(entries)}", "/event_types")
    parsed = tuple(_entry(entry, f"/event_types/{number}") for number, entry in enumerate(entries))
    _check_unique(parsed)
    return parsed


def _read_json(raw: bytes) -> Value:
    try:
        return loads_unique(raw, FILE_LIMITS)
    except JSONError as error:
        raise CatalogueError(str(error)) from None


def _read_yaml(raw: bytes) -> Value:
    if len(raw) > FILE_LIMITS.max_bytes:
        raise CatalogueError(f"too large: {len(raw)} bytes, at most {FILE_LIMITS.max_bytes} are allowed")
    try:
        root = yaml.compose(raw.decode(), Loader=yaml.BaseLoader)
    except UnicodeDecodeError as error:
        raise CatalogueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise CatalogueError(f"not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, OverflowError) as error:  # an escape such as \U00110000
        raise CatalogueError(f"not Unicode: {error}") from None
    except RecursionError:
        raise CatalogueError("too deep") from None
    return None if root is None else _from_yaml(root, set(), FILE_LIMITS.max_depth)


def _from_yaml(node: yaml.Node, seen: set[int], depth_left: int) -> Value:
    if id(node) in seen:
        raise _at_line("aliases are not supported; in a schema, $ref does the same", node)
    if node.tag not in _STANDARD_TAGS:
        raise _at_line(f"tags such as {node.tag} are not supported", node)
    if depth_left == 0:
        raise _at_line("too deep", node)
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, seen, depth_left - 1)
    if isinstance(node, yaml.SequenceNode):
        return [_from_yaml(part, seen, depth_left - 1) for part in node.value]
    assert isinstance(node, yaml.ScalarNode)
    return _plain_scalar(node.value) if node.style is None else _quoted(node)


def _mapping(node: yaml.MappingNode, seen: set[int], depth_left: int) -> Value:
    found: dict[str, Value] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _at_line("a key must be text", key)
        name = _quoted(key)
        if name in found:
            raise _at_line(f"the key {name!r} is given twice", key)
        found[name] = _from_yaml(value, seen, depth_left)
    return found


def _quoted(node: yaml.ScalarNode) -> str:
    """Its text. Two escapes that are a surrogate pair become one character, as in JSON."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _at_line("half a surrogate pair is no character", node) from None


def _plain_scalar(text: str) -> Value:
    """The value of an unquoted scalar, by the JSON schema of YAML 1.2."""
    if text in _PLAIN_WORDS:
        return _PLAIN_WORDS[text]
    return loads(text.encode(), FILE_LIMITS) if _PLAIN_NUMBER.fullmatch(text) else text


def _at_line(message: str, node: yaml.Node) -> CatalogueError:
    return CatalogueError(f"{message}, at line {node.start_mark.line + 1} column {node.start_mark.column + 1}")


def _entry(entry: Value, at: str) -> CatalogueEntry:
    if not isinstance(entry, dict):
        raise CatalogueError("expected an event type: an object with `name` and more", at)
    for key in entry:
        if key not in _KEYS:
            raise CatalogueError(_unknown(key), f"{at}/{key[:60]}")
    schema = _schema(entry, at)
    sample = dumps(entry["sample"]).decode() if "sample" in entry else ""
    _check_sample(schema, sample, at)
    return CatalogueEntry(
        name=_name(entry, at),
        description=_description(entry, at),
        version=_version(entry, at),
        is_deprecated=_deprecated(entry, at),
        on_schema_error=_on_schema_error(entry, at),
        schema=schema,
        sample=sample,
    )


def _unknown(key: str) -> str:
    if key == "category":
        return "the category is the part of the name before the first dot"
    near = get_close_matches(key, _KEYS, n=1)
    return f"unknown; did you mean {near[0]}?" if near else f"unknown; the keys are {', '.join(_KEYS)}"


def _name(entry: dict[str, Value], at: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str):
        raise CatalogueError("every event type needs a name", f"{at}/name")
    try:
        return check_event_type(name)
    except PatternError as error:
        raise CatalogueError(str(error), f"{at}/name") from None


def _description(entry: dict[str, Value], at: str) -> str:
    description = entry.get("description", "")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION_CHARS or "\0" in description:
        raise CatalogueError(f"expected text of at most {MAX_DESCRIPTION_CHARS} characters", f"{at}/description")
    return description.strip()


def _version(entry: dict[str, Value], at: str) -> int:
    version = entry.get("version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= 1_000_000:
        raise CatalogueError("expected a whole number from 1", f"{at}/version")
    return version


def _deprecated(entry: dict[str, Value], at: str) -> bool:
    deprecated = entry.get("deprecated", False)
    if not isinstance(deprecated, bool):
        raise CatalogueError("expected true or false", f"{at}/deprecated")
    return deprecated


def _on_schema_error(entry: dict[str, Value], at: str) -> Literal["refuse", "flag"]:
    match entry.get("on_schema_error", "flag"):
        case "refuse":
            return "refuse"
        case "flag":
            return "flag"
    raise CatalogueError("expected refuse or flag", f"{at}/on_schema_error")


def _schema(entry: dict[str, Value], at: str) -> str:
    if "schema" not in entry:
        return ""
    text = dumps(entry["schema"]).decode()
    try:
        compile_schema(text)
    except SchemaError as error:
        raise CatalogueError(error.message, f"{at}/schema{error.path}") from None
    return text


def _check_sample(schema: str, sample: str, at: str) -> None:
    if schema and sample:
        try:
            compile_schema(schema).check(sample.encode())
        except DataInvalid as error:
            raise CatalogueError(f"breaks the schema: {error.message}", f"{at}/sample{error.path}") from None


def _check_unique(entries: tuple[CatalogueEntry, ...]) -> None:
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if entry.name in seen:
            first = seen[entry.name]
            raise CatalogueError(
                f"{entry.name} is given twice, first at /event_types/{first}", f"/event_types/{number}/name"
            )
        seen[entry.name] = number
