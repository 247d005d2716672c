"""Schemas for the data of event types: JSON Schema 2020-12, compiled once, checked for every event.

Schemas are limited although staff write them: in length, in depth, and in size with every `$ref` followed (a few lines
can require a million checks). Nothing is fetched: `$ref` stays within the schema. Patterns run on a linear-time engine,
so they have no look-around and no back-references. `format` is an annotation, as in the standard.
"""

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import jsonschema_rs
import orjson

from partners.compiled import CompiledCache
from partners.errors import DataInvalid, JSONError, SchemaError
from partners.exact_json import EVENT_LIMITS, Limits, check, loads_unique
from partners.json_pointer import pointer

SCHEMA_LIMITS = Limits(max_bytes=131_072, max_depth=32)
MAX_UNFOLDED = 20_000
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1_000_000, dfa_size_limit=1_000_000)
_MESSAGE_MAX = 500
_NOT_SCHEMAS = frozenset(["const", "default", "enum", "examples"])


@dataclass(frozen=True, slots=True)
class EventSchema:
    """A compiled schema. Thread-safe."""

    validator: jsonschema_rs.Draft202012Validator

    def check(self, data: bytes) -> None:
        """Raises DataInvalid with the first place where the data breaks the schema, JSONError when it is not JSON.

        The message quotes names of members, but no values: it gets into logs and dead letters.
        """
        try:
            self.validator.validate(_plain(data))
        except jsonschema_rs.ValidationError as error:
            raise DataInvalid(error.message[:_MESSAGE_MAX], pointer("", *map(str, error.instance_path))) from None
        except JSONError:
            raise
        except (ValueError, ArithmeticError):  # thousands of digits, or an exponent beyond what decimals have
            raise DataInvalid("a number is too large to be checked against the schema", "") from None


def compile_schema(text: str) -> EventSchema:
    """Compiles a schema; cached by its text. Raises SchemaError, whose `path` is a JSON pointer into the schema."""
    return _COMPILED.get(text)


def _compile(text: str) -> EventSchema:
    try:
        loads_unique(text.encode(errors="surrogatepass"), SCHEMA_LIMITS)
    except JSONError as error:
        raise SchemaError(str(error)) from None
    _check_numbers(text)
    schema = _plain(text.encode())
    if not isinstance(schema, (dict, bool)):
        raise SchemaError("expected a JSON Schema: an object, or true or false")
    if isinstance(schema, dict) and str(schema.get("$schema", DIALECT)).rstrip("#") != DIALECT:
        raise SchemaError(f"only JSON Schema 2020-12 is supported: {DIALECT}", "/$schema")
    try:
        validator = jsonschema_rs.Draft202012Validator(
            schema, offline=True, pattern_options=_PATTERNS, mask="the value"
        )
    except jsonschema_rs.ValidationError as error:
        hint = "; patterns have no look-around and no back-references" if '"regex"' in error.message else ""
        path = pointer("", *map(str, error.instance_path))
        raise SchemaError(f"{error.message[:_MESSAGE_MAX]}{hint}", path) from None
    if _unfolded_size(schema) > MAX_UNFOLDED:
        raise SchemaError(f"too many checks: with every $ref followed, more than {MAX_UNFOLDED} parts")
    return EventSchema(validator)


def _check_numbers(text: str) -> None:
    try:
        json.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError):
        raise SchemaError("a number is too large: it, or its exponent, has too many digits") from None


def _plain(raw: bytes) -> Any:
    """Parses for the validator: by orjson, or with decimals if a number is beyond 64-bit floats."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        check(raw, EVENT_LIMITS)
        return json.loads(
            raw, parse_float=Decimal, parse_int=lambda text: Decimal(text) if len(text) > 18 else int(text)
        )


def _unfolded_size(schema: Any) -> float:
    try:
        return _Unfolding(schema).size(schema)
    except RecursionError:  # hundreds of references, each to the next one
        return math.inf


class _Unfolding:
    """Counts the parts of a schema with every `$ref` followed. One that leads back into itself counts once."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.known: dict[int, int] = {}
        self.anchors: dict[str, Any] = {}
        self._find_anchors(root)

    def size(self, part: Any) -> int:
        if not isinstance(part, (dict, list)):
            return 0
        if id(part) not in self.known:
            self.known[id(part)] = 1
            self.known[id(part)] = 1 + sum(map(self.size, self._inside(part)))
        return self.known[id(part)]

    def _inside(self, part: Any) -> list[Any]:
        if isinstance(part, list):
            return part
        inner = [value for key, value in part.items() if key not in _NOT_SCHEMAS]
        references = (part.get("$ref"), part.get("$dynamicRef"))
        return inner + [self._resolve(found) for found in references if isinstance(found, str)]

    def _resolve(self, reference: str) -> Any:
        """The part of the schema that is meant. Others were refused at compilation, or are known meta-schemas."""
        fragment = reference.partition("#")[2]
        if not fragment.startswith("/"):
            return self.anchors.get(fragment) if fragment else self.root
        found = self.root
        for key in fragment[1:].split("/"):
            name = key.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name) if isinstance(found, dict) else None
        return found

    def _find_anchors(self, part: Any) -> None:
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            self._find_anchors(value)
        if isinstance(part, dict):
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(part.get(key), str):
                    self.anchors[part[key]] = part


_COMPILED = CompiledCache(_compile)
