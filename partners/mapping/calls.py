"""Compiles the calls of each function.

docs/transformations.md describes the functions in the same order.
"""

from collections.abc import Callable

from partners.errors import SpecError
from partners.mapping import functions, nodes
from partners.mapping.call import Call, is_straight
from partners.mapping.dates import check_format, zone_from_text
from partners.mapping.functions import Function
from partners.mapping.output import Build, ValueOf, all_placed

MAX_EACH_NESTED = 4
MAX_DECIMALS = 20


def compile_call(call: Call) -> Build:
    return _COMPILE[call.name](call)


def _value(call: Call) -> Build:
    return call.leaf(nodes.constant(call.argument))


def _path(call: Call) -> Build:
    path = call.path()
    return call.leaf(nodes.first_at(path), checked=not is_straight(path, call.items))


def _all(call: Call) -> Build:
    path = call.path()
    if not call.into_output:
        return nodes.all_at(path)
    return all_placed(path, checked=not is_straight(path, call.items))


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
    _refuse_lone_signs(call)
    return call.leaf(nodes.concat(call.values()))


def _join(call: Call) -> Build:
    if isinstance(call.argument, list):
        _refuse_lone_signs(call)
    return call.leaf(nodes.call(functions.joined_by(call.text("$separator")), call.list(), call.at))


def _refuse_lone_signs(call: Call) -> None:
    """Refuses `$`, which is the whole event, beside text: it is meant as a dollar sign. So is `@` beside `@.name`."""
    parts = call.parts()
    item_is_object = any(isinstance(part, str) and part.startswith(("@.", "@[")) for part in parts)
    for number, part in enumerate(parts):
        if part == "$" or (part == "@" and item_is_object):
            what = "event" if part == "$" else "item"
            message = f'`{part}` is the whole {what} here; for the sign itself write {{"$value": "{part}"}}'
            raise SpecError(message, f"{call.argument_at}/{number}")


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


def _element(index: int) -> Callable[[Call], Build]:
    return lambda call: call.leaf(nodes.element(call.list(), index), checked=True)


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


_COMPILE: dict[str, Callable[[Call], Build]] = {
    "$value": _value,
    "$path": _path,
    "$all": _all,
    "$each": _each,
    "$if": _if,
    "$coalesce": _coalesce,
    "$merge": _merge,
    "$string": _of_one_value(functions.to_text),
    "$number": _number,
    "$lower": _of_one_value(functions.lower),
    "$upper": _of_one_value(functions.upper),
    "$trim": _of_one_value(functions.trim),
    "$substring": _substring,
    "$concat": _concat,
    "$join": _join,
    "$split": _split,
    "$count": _count,
    "$first": _element(0),
    "$last": _element(-1),
    "$sum": _sum,
    "$multiply": _multiply,
    "$date": _date,
}
