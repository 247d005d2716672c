"""Reads and writes JSON exactly: key order and the spelling of every number are kept.

`check` is the common path: it checks that bytes are JSON that we accept, at orjson's speed, and returns nothing.
`loads` and `dumps` are the exact path, for filters and transformations: integers of up to 18 digits are `int`, every
other number is a `Number` that keeps its spelling (`1.10`, `1e5`, `-0`, a 40-digit id).
`members` and `elements` split a document into the exact bytes of its parts.

RFC 8259 within `Limits` is accepted, in UTF-8 without a byte order mark. NaN and Infinity, bad UTF-8, half surrogate
pairs (UTF-8 can't encode them) and text that is too long or too deep are refused. A NUL in a string (`\\u0000`) is
accepted. So is a repeated key: readers here get its last value (as in PostgreSQL, JavaScript and Python), while data
that is passed on unchanged keeps both.
"""

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, TypeAlias

import orjson

from partners.errors import JSONError


class Number:
    """A number in its original spelling. Equal to another of the same spelling; `decimal_of` gives its value."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return type(other) is Number and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Number({self.text!r})"


Value: TypeAlias = dict[str, "Value"] | list["Value"] | str | int | Number | bool | None


@dataclass(frozen=True, slots=True)
class Limits:
    max_bytes: int
    max_depth: int  # of nested lists and objects; 1 is a flat object


EVENT_LIMITS = Limits(max_bytes=1_048_576, max_depth=64)


def check(raw: bytes, limits: Limits = EVENT_LIMITS) -> None:
    """Raises JSONError, which says what is wrong and where, if these bytes are not JSON that we accept."""
    _check_size(raw, limits)
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not _only_a_large_number(error):
            raise _error_at(raw, error) from None
        _decode(raw, limits)
    _check_depth(raw, limits)


def loads(raw: bytes, limits: Limits = EVENT_LIMITS) -> Value:
    """Parses JSON exactly. Raises JSONError as `check` does."""
    _check_size(raw, limits)
    _check_depth(raw, limits)
    return _decode(raw, limits)


def loads_unique(raw: bytes, limits: Limits) -> Value:
    """Like `loads`, for what people write: a repeated key is an error."""
    _check_size(raw, limits)
    _check_depth(raw, limits)
    return _decode(raw, limits, _EXACT_UNIQUE)


def dumps(value: Value) -> bytes:
    """Compact JSON in UTF-8, with the key order and the spelling of numbers that `loads` gave.

    The result is a copy, because orjson's own bytes keep the buffer they were written in: 4 KB at least, and up to
    fifteen times their length (measured with orjson 3.13).
    """
    return memoryview(orjson.dumps(value, default=_spelling)).tobytes()


def members(raw: bytes, limits: Limits = EVENT_LIMITS) -> dict[str, bytes]:
    """The members of an object, each as its exact bytes. Raises JSONError, also for a list or a scalar."""
    text = _container(raw, "{", "a JSON object", limits)
    found: dict[str, bytes] = {}
    at = _skip(text, 1)
    while text[at] != "}":
        key, after_key = _SCAN(text, at)
        start = _skip(text, _skip(text, after_key) + 1)
        end = _SCAN(text, start)[1]
        found[key] = text[start:end].encode()
        at = _next_part(text, end)
    return found


def elements(raw: bytes, limits: Limits = EVENT_LIMITS, at_most: int | None = None) -> list[bytes]:
    """The elements of a list, or the first `at_most`, as their exact bytes. Raises JSONError for anything else."""
    text = _container(raw, "[", "a JSON list", limits)
    found: list[bytes] = []
    at = _skip(text, 1)
    while text[at] != "]" and len(found) != at_most:
        end = _SCAN(text, at)[1]
        found.append(text[at:end].encode())
        at = _next_part(text, end)
    return found


def decimal_of(value: int | Number) -> Decimal:
    """The exact value of a number. If its exponent has more than 18 digits, that is infinity or zero."""
    if isinstance(value, int):
        return Decimal(value)
    try:
        return Decimal(value.text)
    except InvalidOperation:
        mantissa, _, exponent = value.text.lower().partition("e")
        huge = Decimal(mantissa) and not exponent.startswith("-")
        return Decimal("Infinity").copy_sign(Decimal(mantissa)) if huge else Decimal(0)


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= 18 and text != "-0" else Number(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in pairs:
        if key in found:
            raise JSONError(f"the key {key!r} is given twice in one object")
        found[key] = value
    return found


_EXACT = json.JSONDecoder(parse_int=_integer, parse_float=Number, parse_constant=_refuse_constant)
_EXACT_UNIQUE = json.JSONDecoder(
    parse_int=_integer, parse_float=Number, parse_constant=_refuse_constant, object_pairs_hook=_unique
)
_SCAN = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode  # text, start -> value, end
_SPACE = re.compile(r"[ \t\n\r]*")


def _container(raw: bytes, opening: str, what: str, limits: Limits) -> str:
    check(raw, limits)
    text = raw.decode().strip(" \t\n\r")
    if text[0] != opening:
        raise JSONError(f"expected {what}")
    return text


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text too


def _next_part(text: str, at: int) -> int:
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _spelling(value: Any) -> orjson.Fragment:
    return orjson.Fragment(value.text)


def _check_size(raw: bytes, limits: Limits) -> None:
    if len(raw) > limits.max_bytes:
        raise JSONError(f"too large: {len(raw)} bytes, at most {limits.max_bytes} are allowed")


_ALL_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _check_depth(raw: bytes, limits: Limits) -> None:
    """A few passes in C instead of a walk in Python: drops strings, keeps brackets, removes layer after layer.

    Exact for valid JSON. Invalid JSON may pass here, and the parser refuses it.
    """
    if len(raw.translate(None, _NO_BRACKETS)) <= 2 * limits.max_depth:
        return  # each layer has two brackets
    bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in raw else raw
    brackets = b"".join(bare.split(b'"')[::2]).translate(_ALL_SQUARE, _NO_BRACKETS)
    layers = 0
    while brackets:
        if layers == limits.max_depth:
            raise _too_deep(limits)
        brackets = brackets.replace(b"[]", b"")
        layers += 1


def _decode(raw: bytes, limits: Limits, decoder: json.JSONDecoder = _EXACT) -> Value:
    try:
        value: Value = decoder.decode(raw.decode())
        if b"\\u" in raw:
            dumps(value)  # refuses half surrogate pairs
    except RecursionError:
        raise _too_deep(limits) from None
    except JSONError:
        raise
    except (ValueError, TypeError) as error:
        raise _explained(raw, error) from None
    return value


def _explained(raw: bytes, error: Exception) -> JSONError:
    """The error of orjson, whose position is better than that of the exact parser."""
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as known:
        if not _only_a_large_number(known):
            return _error_at(raw, known)
    return JSONError(f"not JSON: {error}")


def _too_deep(limits: Limits) -> JSONError:
    return JSONError(f"too deep: more than {limits.max_depth} lists and objects inside each other")


def _only_a_large_number(error: orjson.JSONDecodeError) -> bool:
    """Valid JSON that orjson refuses, because the number has no 64-bit float."""
    return "infinity" in error.msg


def _error_at(raw: bytes, error: orjson.JSONDecodeError) -> JSONError:
    try:
        raw.decode()
    except UnicodeDecodeError as bad:
        return JSONError(f"not UTF-8: {bad.reason} at byte {bad.start}", bad.start)
    return JSONError(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}", error.pos)
