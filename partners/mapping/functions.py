"""The functions of templates, on a value, a list or a few numbers. They raise `NotPossible` for what they can't do.

They are not called for null, which stays null, nor for what is missing: see `nodes.call`.
"""

import re
from collections.abc import Callable
from datetime import timezone
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext

from partners.budget import Budget
from partners.exact_json import Number, Value, decimal_of, dumps
from partners.mapping.dates import date_from_number, date_from_text, format_date
from partners.paths.comparisons import worth

Function = Callable[[Value, Budget], Value]

_NUMBER = re.compile(r"([+-]?)0*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)", re.ASCII)
_LONGEST_NUMBER = 100
_DIGITS = 60
"""No operand may have more digits than this before or after the point. Arithmetic is exact or refused."""
_EXACT = Context(prec=5 * _DIGITS)
"""Room for every sum and product of such operands, so that nothing is ever rounded silently."""


class NotPossible(Exception):  # noqa: N818 - a result, not a fault
    """A function can't make a value. It becomes a TransformError with this `reason`, unless there is a `$default`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.place = ""

    def at(self, place: str) -> "NotPossible":
        """Sets the place in the specification. The innermost function sets it first, and it stays."""
        self.place = self.place or place
        return self


def kind(value: Value) -> str:
    """The kind of a value, for messages, which never quote values."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, Number)):
        return "a number"
    if isinstance(value, str):
        return "text"
    if value is None:
        return "null"
    return "a list" if isinstance(value, list) else "an object"


def text(value: Value, budget: Budget) -> str:
    """Text is unchanged; numbers keep their spelling; true, false, lists and objects become compact JSON."""
    if type(value) is str:
        budget.take(len(value) >> 4)
        return value
    if isinstance(value, (list, dict)):
        weigh(value, budget)
    return dumps(value).decode()


def weigh(value: Value, budget: Budget) -> None:
    """Refuses, before it is written, what would not fit into the output: parts may be repeated many times."""
    size = 0
    stack = [value]
    while stack:
        part = stack.pop()
        budget.take(1)
        if type(part) is str:
            size += len(part) + 3
        elif type(part) is dict:
            size += sum(map(len, part)) + 4 * len(part) + 2
            stack.extend(part.values())
        elif type(part) is list:
            size += len(part) + 2
            stack.extend(part)
        else:
            size += len(part.text) if type(part) is Number else 5
        if size > budget.max_bytes:
            raise budget.too_large()


def to_text(value: Value, budget: Budget) -> Value:
    return text(value, budget)


def lower(value: Value, budget: Budget) -> Value:
    return text(value, budget).lower()


def upper(value: Value, budget: Budget) -> Value:
    return text(value, budget).upper()


def trim(value: Value, budget: Budget) -> Value:
    return text(value, budget).strip()


def to_number(value: Value, budget: Budget) -> Value:
    """Text that spells a number becomes that number, digit for digit, without a plus and leading zeros."""
    if isinstance(value, (int, Number)) and not isinstance(value, bool):
        return value
    spelled = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= _LONGEST_NUMBER else None
    if spelled is None:
        raise NotPossible("not_a_number", f"{kind(value)} that spells no number")
    return Number(f"{spelled[1].strip('+')}{spelled[2]}")


def split_by(separator: str) -> Function:
    def split(value: Value, budget: Budget) -> Value:
        whole = text(value, budget)
        budget.take(whole.count(separator))
        return list[Value](whole.split(separator))

    return split


def substring_of(start: int, length: int | None) -> Function:
    def substring(value: Value, budget: Budget) -> Value:
        whole = text(value, budget)
        first = max(start + len(whole), 0) if start < 0 else start
        return whole[first : None if length is None else first + length]

    return substring


def date_as(form: str, zone: timezone | None) -> Function:
    def date(value: Value, budget: Budget) -> Value:
        number = None if isinstance(value, str) else worth(value, budget)
        try:
            if isinstance(value, str):
                moment = date_from_text(value)
            elif number is not None:
                moment = date_from_number(number)
            else:
                raise NotPossible("not_a_date", f"{kind(value)} where a date was expected")
            return format_date(moment if zone is None else moment.astimezone(zone), form)
        except (ValueError, OverflowError) as error:
            raise NotPossible("not_a_date", f"{kind(value)} that is no date: {error}") from None

    return date


def decimals(places: int) -> Function:
    """Rounds half away from zero (2.5 to 3, -2.5 to -3) to exactly so many digits after the point."""

    def rounded(value: Value, budget: Budget) -> Value:
        number = _operand(value, budget)
        with localcontext(_EXACT):
            return _spelled(number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP))

    return rounded


def joined_by(separator: str) -> Function:
    """Joins texts. Null is skipped."""

    def join(values: Value, budget: Budget) -> Value:
        assert isinstance(values, list)
        parts: list[str] = []
        for value in values:
            budget.take(1)
            if value is not None:
                parts.append(text(value, budget))
                budget.take((len(parts[-1]) + len(separator)) >> 4)
        return separator.join(parts)

    return join


def total(values: Value, budget: Budget) -> Value:
    """The sum. Null is skipped; text that spells a number, such as a price in quotes, is one here."""
    assert isinstance(values, list)
    with localcontext(_EXACT):
        return _spelled(sum((_operand(value, budget) for value in values if value is not None), Decimal(0)))


def product(values: Value, budget: Budget) -> Value:
    assert isinstance(values, list)
    result = Decimal(1)
    with localcontext(_EXACT):
        for value in values:
            result = _check_size(result * _operand(value, budget))
        return _spelled(result)


def _operand(value: Value, budget: Budget) -> Decimal:
    budget.take(1)
    number = to_number(value, budget)
    assert isinstance(number, (int, Number))
    return _check_size(decimal_of(number))


def _check_size(number: Decimal) -> Decimal:
    """Refuses large numbers, so that exact arithmetic stays cheap: 1e1000000 has a million digits."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_DIGITS or len(number.as_tuple().digits) + exponent > _DIGITS:
        raise NotPossible("number_too_large", f"arithmetic is for numbers of at most {_DIGITS} digits")
    return number


def _spelled(number: Decimal) -> Value:
    return Number(f"{number:f}")
