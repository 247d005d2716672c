"""The functions that a template may call, with what each of them takes: `{"$join": ..., "$separator": ", "}`.

One entry of `_FUNCTIONS` for each; docs/transformations.md describes them in the same order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from partners.errors import SpecError
from partners.exact_json import Value
from partners.paths import Path
from partners.templates import functions, nodes
from partners.templates.dates import check_format, zone_from_text
from partners.templates.functions import Function, kind
from partners.templates.nodes import Build, ListOf, ValueOf

if TYPE_CHECKING:
    from partners.templates.compiler import TemplateCompiler

MAX_EACH_NESTED = 4
MAX_DECIMALS = 20

Items: TypeAlias = tuple[bool, ...]
"""For every `$each` around: whether its items come straight from the event, so that none holds a part many times."""


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a function: what was written, where, and what it stands in."""

    compiler: "TemplateCompiler"
    spec: dict[str, Value]
    at: str
    items: Items
    into_output: bool

    @property
    def name(self) -> str:
        """The function meant; raises SpecError when it is none, more than one, or has what it does not take."""
        found = [key for key in self.spec if key in _FUNCTIONS]
        unknown = [key for key in self.spec if key not in _FUNCTIONS and key not in _OPTIONS]
        if unknown:
            self._refuse_key(unknown[0], bool(found))
        if len(found) != 1:
            what = (
                f"{' and '.join(found)} do not go together" if found else f"{next(iter(self.spec))} needs its function"
            )
            raise SpecError(f"{what} in one object", self.at)
        for key in self.spec:
            if key != found[0] and key not in (*_FUNCTIONS[found[0]].options, "$default"):
                raise SpecError(f"{found[0]} takes no {key}", pointer(self.at, key))
        return found[0]

    def _refuse_key(self, key: str, has_function: bool) -> NoReturn:
        at = pointer(self.at, key)
        if not key.startswith("$") or key.startswith("$$"):
            raise SpecError("a function and a plain key do not go together in one object", at)
        near = get_close_matches(key, [*_FUNCTIONS, *_OPTIONS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(_FUNCTIONS))}"
        raise SpecError(f"there is no function {key}; {hint} (the key {key} in the output is written ${key})", at)

    @property
    def argument_at(self) -> str:
        return f"{self.at}/{self.name}"

    @property
    def argument(self) -> Value:
        return self.spec[self.name]

    def leaf(self, value_of: ValueOf, checked: bool = False) -> Build:
        return nodes.placed(value_of, checked) if self.into_output else value_of

    def value(self) -> ValueOf:
        """The argument, as a template."""
        return self.compiler.value(self.argument, self.argument_at, self.items)

    def values(self) -> list[ValueOf]:
        """The argument, as a list of templates."""
        return [self.compiler.value(part, f"{self.argument_at}/{n}", self.items) for n, part in enumerate(self.parts())]

    def parts(self) -> Sequence[Value]:
        if not isinstance(self.argument, list):
            raise SpecError(f"expected a list, not {kind(self.argument)}", self.argument_at)
        return self.argument

    def path(self) -> Path:
        return self.compiler.path(self.argument, self.argument_at, self.items)

    def list(self) -> ListOf:
        """The argument, as a list: all matches of a path, the list at a definite path, or what a template makes."""
        if isinstance(self.argument, str):
            return nodes.list_at(self.path(), self.argument_at)
        if not isinstance(self.argument, (list, dict)):
            raise SpecError(f"expected a path or a list, not {kind(self.argument)}", self.argument_at)
        return nodes.expect_list(self.value(), self.argument_at)

    def template(self, key: str, items: Items | None = None) -> Build:
        if key not in self.spec:
            raise SpecError(f"{self.name} needs {key}", self.at)
        inside = self.items if items is None else items
        return self.compiler.template(self.spec[key], f"{self.at}/{key}", inside, self.into_output)

    def text(self, key: str, default: str | None = None) -> str:
        """An option that is plain text."""
        given = self.spec.get(key, default)
        if given is None:
            raise SpecError(f"{self.name} needs {key}", self.at)
        if not isinstance(given, str):
            raise SpecError(f"expected text, not {kind(given)}", f"{self.at}/{key}")
        return given

    def whole_number(self, key: str, lowest: int, highest: int) -> int:
        """An option that is a whole number."""
        given = self.spec[key]
        if isinstance(given, bool) or not isinstance(given, int) or not lowest <= given <= highest:
            raise SpecError(f"expected a whole number from {lowest} to {highest}", f"{self.at}/{key}")
        return given


def compile_call(call: Call) -> Build:
    return _FUNCTIONS[call.name].compile(call)


def pointer(at: str, key: str) -> str:
    """One step further in a JSON pointer."""
    return f"{at}/{key.replace('~', '~0').replace('/', '~1')}"


def is_straight(path: Path, items: Items) -> bool:
    """Whether what it finds is a part of the event, in which nothing is there twice."""
    return path.level == 0 or items[-path.level]


def _value(call: Call) -> Build:
    return call.leaf(nodes.constant(call.argument))


def _path(call: Call) -> Build:
    path = call.path()
    return call.leaf(nodes.first_at(path), checked=not is_straight(path, call.items))


def _all(call: Call) -> Build:
    path = call.path()
    if not call.into_output:
        return nodes.all_at(path)
    return nodes.all_placed(path, checked=not is_straight(path, call.items))


def _each(call: Call) -> Build:
    if len(call.items) >= MAX_EACH_NESTED:
        raise SpecError(f"more than {MAX_EACH_NESTED} $each inside each other", call.at)
    straight = isinstance(call.argument, str) and is_straight(call.path(), call.items)
    return nodes.each(call.list(), call.template("$to", (*call.items, straight)))


def _if(call: Call) -> Build:
    otherwise = call.template("$else") if "$else" in call.spec else nodes.nothing
    return nodes.if_found(call.path(), call.template("$then"), otherwise)


def _coalesce(call: Call) -> Build:
    at, compiler = call.argument_at, call.compiler
    choices = [compiler.template(c, f"{at}/{n}", call.items, call.into_output) for n, c in enumerate(call.parts())]
    return nodes.coalesce(choices)


def _merge(call: Call) -> Build:
    return call.leaf(nodes.merge(call.values(), call.at), checked=True)


def _of_one_value(function: Function) -> Callable[[Call], Build]:
    return lambda call: call.leaf(nodes.call(function, call.value(), call.at))


def _with_decimals(call: Call, value_of: ValueOf) -> Build:
    if "$decimals" in call.spec:
        places = call.whole_number("$decimals", 0, MAX_DECIMALS)
        value_of = nodes.call(functions.decimals(places), value_of, call.at)
    return call.leaf(value_of)


def _number(call: Call) -> Build:
    return _with_decimals(call, nodes.call(functions.to_number, call.value(), call.at))


def _sum(call: Call) -> Build:
    return _with_decimals(call, nodes.call(functions.total, call.list(), call.at))


def _multiply(call: Call) -> Build:
    factors = nodes.factors(call.values())
    return _with_decimals(call, nodes.call(functions.product, factors, call.at))


def _concat(call: Call) -> Build:
    _refuse_bare_dollar(call)
    return call.leaf(nodes.concat(call.values()))


def _join(call: Call) -> Build:
    if isinstance(call.argument, list):
        _refuse_bare_dollar(call)
    return call.leaf(nodes.call(functions.joined_by(call.text("$separator")), call.list(), call.at))


def _refuse_bare_dollar(call: Call) -> None:
    """`$` is the whole event, and next to text always a mistake for the dollar sign."""
    for number, part in enumerate(call.parts()):
        if part == "$":
            at = f"{call.argument_at}/{number}"
            raise SpecError('`$` is the whole event; for a dollar sign write {"$value": "$"}', at)


def _split(call: Call) -> Build:
    separator = call.text("$separator")
    if not separator:
        raise SpecError("the separator is empty", f"{call.at}/$separator")
    return call.leaf(nodes.call(functions.split_by(separator), call.value(), call.at))


def _substring(call: Call) -> Build:
    start = call.whole_number("$start", -1_000_000, 1_000_000) if "$start" in call.spec else 0
    length = call.whole_number("$length", 0, 1_000_000) if "$length" in call.spec else None
    return call.leaf(nodes.call(functions.substring_of(start, length), call.value(), call.at))


def _count(call: Call) -> Build:
    if isinstance(call.argument, str) and not (path := call.path()).is_definite:
        return call.leaf(nodes.count(path.all, call.at))
    return call.leaf(nodes.count(call.value(), call.at))


def _date(call: Call) -> Build:
    form = call.text("$format", "iso")
    try:
        check_format(form)
    except ValueError as error:
        raise SpecError(str(error), f"{call.at}/$format") from None
    zone = None
    if "$zone" in call.spec:
        try:
            zone = zone_from_text(call.text("$zone"))
        except ValueError as error:
            raise SpecError(str(error), f"{call.at}/$zone") from None
    return call.leaf(nodes.call(functions.date_as(form, zone), call.value(), call.at))


@dataclass(frozen=True, slots=True)
class _Definition:
    compile: Callable[[Call], Build]
    options: tuple[str, ...] = ()


_FUNCTIONS = {
    "$value": _Definition(_value),
    "$path": _Definition(_path),
    "$all": _Definition(_all),
    "$each": _Definition(_each, ("$to",)),
    "$if": _Definition(_if, ("$then", "$else")),
    "$coalesce": _Definition(_coalesce),
    "$merge": _Definition(_merge),
    "$string": _Definition(_of_one_value(functions.to_text)),
    "$number": _Definition(_number, ("$decimals",)),
    "$lower": _Definition(_of_one_value(functions.lower)),
    "$upper": _Definition(_of_one_value(functions.upper)),
    "$trim": _Definition(_of_one_value(functions.trim)),
    "$substring": _Definition(_substring, ("$start", "$length")),
    "$concat": _Definition(_concat),
    "$join": _Definition(_join, ("$separator",)),
    "$split": _Definition(_split, ("$separator",)),
    "$count": _Definition(_count),
    "$sum": _Definition(_sum, ("$decimals",)),
    "$multiply": _Definition(_multiply, ("$decimals",)),
    "$date": _Definition(_date, ("$format", "$zone")),
}
_OPTIONS = frozenset(option for definition in _FUNCTIONS.values() for option in definition.options) | {"$default"}
