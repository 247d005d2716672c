"""Compiles the text of a path.

Plain paths (`$.data.customer.email`, `$.data.line_items[0]['a key']`) are compiled from their tokens. For all others
jsonpath-ng's grammar parses our tokens, and its tree is translated node by node. Nodes that are not on an allow-list
(arithmetic, sorting, `parent`, unions, regular expressions) are refused, so that a later version of the library can't
extend the language unnoticed.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from jsonpath_ng import Child, Descendants, Fields, Index, Root, This
from jsonpath_ng import Slice as SliceNode
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.filter import And, Expression, Or
from jsonpath_ng.ext.filter import Filter as FilterNode
from jsonpath_ng.ext.parser import ExtendedJsonPathParser
from jsonpath_ng.jsonpath import Wildcard as WildcardNode

from partners.errors import SpecError
from partners.paths.conditions import AllOf, AnyOf, CompareLiteral, CompareQuery, Exists, Query
from partners.paths.path import Path
from partners.paths.steps import Condition, Descend, Filter, Indices, Names, Slice, Step, Wildcard
from partners.paths.tokens import Token, tokenize

MAX_STEPS_IN_PATH = 32
MAX_COMPARISONS = 20


_parsers = threading.local()


def parse_tokens(tokens: Iterator[Any]) -> Any:
    """Returns jsonpath-ng's tree. Making its parser costs ten times as much as parsing, so every thread keeps one."""
    try:
        parser = _parsers.parser
    except AttributeError:
        parser = _parsers.parser = ExtendedJsonPathParser()
    return parser.parse_token_stream(tokens)


def compile_path(text: str, levels: int = 0, parse: Callable[[Iterator[Any]], Any] = parse_tokens) -> Path:
    """`levels` is the number of items (`@`, `@@` ...) that the path can refer to. Raises SpecError, without a place."""
    level = len(text) - len(text.lstrip("@"))
    if level > levels:
        raise SpecError(f"{text!r} asks for an item, but {_where(levels)}")
    tokens = tokenize(text, max(level - 1, 0))
    keys = _plain_keys(tokens)
    steps = _Translation(text, tokens).steps(parse) if keys is None else tuple(map(_key_step, keys))
    if len(steps) > MAX_STEPS_IN_PATH:
        raise SpecError(f"a path has at most {MAX_STEPS_IN_PATH} steps; {text!r} has {len(steps)}")
    return Path(text, level, steps, keys)


def _where(levels: int) -> str:
    if levels == 0:
        return "there is none here: only the `$to` of an `$each` has one"
    return f"there are only {levels} `$each` around it"


def _plain_keys(tokens: list[Token]) -> tuple[str | int, ...] | None:
    """The keys of a path that has only names and single positions; None when it has anything else."""
    keys: list[str | int] = []
    rest = iter(tokens[1:])
    for token in rest:
        if token.type not in (".", "["):
            return None
        key = next(rest)
        if key.type not in ("ID", "NUMBER") or (token.type == "[" and next(rest).type != "]"):
            return None
        keys.append(key.value)  # type: ignore[arg-type]  # an ID's value is text, a NUMBER's an int
    return tuple(keys)


def _key_step(key: str | int) -> Step:
    return Names((key,)) if isinstance(key, str) else Indices((key,))


class _Translation:
    """Checks jsonpath-ng's tree of one path and translates it into our steps."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.read: Token | None = None
        self.comparisons = 0
        self.descents = 0

    def steps(self, parse: Callable[[Iterator[Any]], Any]) -> tuple[Step, ...]:
        try:
            tree = parse(self._stream())
        except JSONPathError:
            raise self._refusal() from None
        return self._query(tree).path.steps

    def _stream(self) -> Iterator[Any]:
        for token in self.tokens:
            self.read = token
            yield token

    def _refusal(self) -> SpecError:
        assert self.read is not None
        word = self.text[self.read.lexpos : self.read.end]
        return SpecError(f"{word!r} makes no sense there, at character {self.read.lexpos + 1} of {self.text!r}")

    def _query(self, tree: Any) -> Query:
        """Translates the whole path, or one inside a condition."""
        parts = self._flatten(tree)
        first = next(parts)
        if not isinstance(first, (Root, This)):
            raise self._not_allowed(first)
        steps: list[Step] = []
        for part in parts:
            steps.append(self._step(part, after_descend=bool(steps) and isinstance(steps[-1], Descend)))
        return Query(Path(self.text, int(isinstance(first, This)), tuple(steps), _keys_of(steps)))

    def _flatten(self, tree: Any) -> Iterator[Any]:
        """The parts in order: however the grammar nested them, `a.b` and `a..b` mean first a, then b."""
        if isinstance(tree, (Child, Descendants)):
            yield from self._flatten(tree.left)
            if isinstance(tree, Descendants):
                yield Descendants
            yield from self._flatten(tree.right)
        else:
            yield tree

    def _step(self, part: Any, after_descend: bool) -> Step:
        match part:
            case Fields():
                return Names(tuple(part.fields))
            case Index():
                return Indices(tuple(part.indices))
            case SliceNode():
                return self._slice(part)
            case WildcardNode():
                return Wildcard()
            case FilterNode():
                return Filter(self._all_of(part.expressions), of_children=after_descend)
        if part is Descendants:
            return self._descend()
        raise self._not_allowed(part)

    def _slice(self, part: Any) -> Step:
        if part.step == 0:
            raise SpecError(f"a slice with step 0 finds nothing, in {self.text!r}")
        return Slice(part.start, part.end, part.step)

    def _descend(self) -> Step:
        self.descents += 1
        if self.descents > 1:
            raise SpecError(f"at most one `..` in a path, filters included: {self.text!r}")
        return Descend()

    def _all_of(self, expressions: list[Any]) -> Condition:
        conditions = tuple(map(self._condition, expressions))
        return conditions[0] if len(conditions) == 1 else AllOf(conditions)

    def _condition(self, expression: Any) -> Condition:
        match expression:
            case And():
                return self._all_of(expression.operands)
            case Or():
                return AnyOf(tuple(map(self._condition, expression.operands)))
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            raise SpecError(f"at most {MAX_COMPARISONS} conditions in a path: {self.text!r}")
        match expression:
            case Expression(op=None | "!"):
                return Exists(self._query(expression.target), expected=expression.op is None)
            case Expression(value=Child() | Root() | This()):
                return CompareQuery(self._query(expression.target), expression.op, self._query(expression.value))
            case Expression():
                return CompareLiteral(self._query(expression.target), expression.op, expression.value)
        raise self._not_allowed(expression)

    def _not_allowed(self, part: Any) -> SpecError:
        return SpecError(f"{part} is not available in a path: {self.text!r}")


def _keys_of(steps: list[Step]) -> tuple[str | int, ...] | None:
    keys: list[str | int] = []
    for step in steps:
        match step:
            case Names(names=(name,)):
                keys.append(name)
            case Indices(indices=(index,)):
                keys.append(index)
            case _:
                return None
    return tuple(keys)
