"""Applies a filter and a transformation to one event, for people who are writing them.

The admin's editor, the API's preview and test events get the same result as deliveries. Errors in what people wrote are
not raised but returned as problems, each with its place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from partners.envelope import Envelope
from partners.errors import JSONError, SpecError, TransformError
from partners.filters import compile_filter
from partners.hints import Hint, hints_for, hints_for_filter
from partners.transform import body_for

Place = Literal["filter", "transformation", "data"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` is a JSON pointer into the transformation, empty for the filter and the data: their messages have it."""

    where: Place
    path: str
    message: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """`wanted` is None if the filter fails; `body` has the exact bytes, or is None if there are none.

    Hints are not problems: the body can be sent.
    """

    wanted: bool | None
    body: bytes | None
    problems: tuple[Problem, ...]
    hints: tuple[Hint, ...] = ()


def preview(filter_: str, transformation: str, envelope: Envelope) -> Preview:
    """Empty texts mean no filter and no transformation. Events that the filter refuses get a body too."""
    try:
        _ = envelope.tree
    except JSONError as error:
        return Preview(None, None, (Problem("data", "", str(error)),))
    wanted, filter_problems = _tried("filter", lambda: not filter_ or compile_filter(filter_).matches(envelope))
    body, transformation_problems = _tried("transformation", lambda: body_for(transformation, envelope))
    hints = [] if wanted is not False else list(hints_for_filter(filter_, envelope))
    if transformation and body is not None:
        hints += hints_for(transformation, envelope, body)
    return Preview(wanted, body, filter_problems + transformation_problems, tuple(hints))


def _tried(where: Place, apply: Callable[[], Result]) -> tuple[Result | None, tuple[Problem, ...]]:
    try:
        return apply(), ()
    except SpecError as error:
        return None, (Problem(where, error.path, error.message),)
    except TransformError as error:
        return None, (Problem(where, error.path, error.message, error.reason),)
