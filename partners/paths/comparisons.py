"""Compares two JSON values by `==`, `<` and the others: exactly, and with numbers in quotes as numbers.

- Two numbers compare by their exact values: `199`, `199.00` and `1.99e2` are equal.
- A number and a string that spells a number (`"199.00"`, as Shopify writes prices) compare as numbers.
- Two strings are equal when they are the same text. They are ordered as numbers when both spell one, else as text.
- true, false and null equal themselves only; lists and objects are equal when everything in them is.
- `!=` is true exactly when `==` is false. What has no order (a list, null, text beside a number) is neither less nor
  greater.
"""

import operator
import re
from collections.abc import Callable
from decimal import Decimal

from partners.budget import Budget
from partners.exact_json import Number, Value, decimal_of

_SPELLS_A_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST_NUMBER_IN_TEXT = 64

_ORDER: dict[str, Callable[[Decimal | int | str, Decimal | int | str], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(op: str, left: Value, right: Value, budget: Budget) -> bool:
    """`op` is one of `==` (also written `=`), `!=`, `<`, `<=`, `>`, `>=`."""
    if op in ("==", "="):
        return equal(left, right, budget)
    if op == "!=":
        return not equal(left, right, budget)
    budget.take(1)
    left_worth, right_worth = worth(left, budget), worth(right, budget)
    if left_worth is not None and right_worth is not None:
        return _ORDER[op](left_worth, right_worth)
    if type(left) is str and type(right) is str:
        budget.take(len(left) >> 8)
        return _ORDER[op](left, right)
    return "=" in op and equal(left, right, budget)


def equal(left: Value, right: Value, budget: Budget) -> bool:
    """Works without recursion, and takes a step for every pair of values."""
    budget.take(1)
    pairs = [(left, right)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is list and type(right) is list:
            if len(left) != len(right):
                return False
            budget.take(len(left))
            pairs.extend(zip(left, right, strict=True))
        elif type(left) is dict and type(right) is dict:
            if len(left) != len(right):
                return False
            budget.take(len(left))
            if left.keys() != right.keys():
                return False
            pairs.extend((value, right[key]) for key, value in left.items())
        elif not _same_scalar(left, right, budget):
            return False
    return True


def worth(value: Value, budget: Budget) -> int | Decimal | None:
    """The value of a number, or of a string that spells one; None for anything else."""
    if type(value) is int:
        return value
    if type(value) is Number:
        budget.take(len(value.text) >> 4)
        return decimal_of(value)
    if type(value) is str and len(value) <= _LONGEST_NUMBER_IN_TEXT and _SPELLS_A_NUMBER.fullmatch(value):
        return Decimal(value)
    return None


def _same_scalar(left: Value, right: Value, budget: Budget) -> bool:
    if type(left) is str and type(right) is str:
        budget.take(len(left) >> 8)
        return left == right
    left_worth = worth(left, budget)
    if left_worth is not None:
        return left_worth == worth(right, budget)
    return left is right  # true, false and null are singletons; a list and an object differ
