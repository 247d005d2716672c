"""What a filter and a transformation make of one event, for people who are writing them.

The admin's editor, the API's preview and the sending of a test event show the same answer, and it is the one that
deliveries get. Nothing is raised for what people wrote: it comes back as problems, each with its place.
"""

from dataclasses import dataclass
from typing import Literal

from partners.envelope import Envelope
from partners.errors import JSONError, SpecError, TransformError
from partners.filters import compile_filter
from partners.hints import Hint, hints_for
from partners.transform import body_for


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` is a JSON pointer into the transformation, empty for the filter and the data, whose messages say where."""

    where: Literal["filter", "transformation", "data"]
    path: str
    message: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """`wanted` is None when the filter can't tell; `body` is None when there is none, else the exact bytes.

    Hints are no problems: the body is sent as it is.
    """

    wanted: bool | None
    body: bytes | None
    problems: tuple[Problem, ...]
    hints: tuple[Hint, ...] = ()


def preview(filter_: str, transformation: str, envelope: Envelope) -> Preview:
    """Empty texts mean no filter and no transformation. The body is shown for events the filter leaves out, too."""
    try:
        _ = envelope.tree
    except JSONError as error:
        return Preview(None, None, (Problem("data", "", str(error)),))
    wanted, filter_problems = _wanted(filter_, envelope)
    body, transformation_problems = _body(transformation, envelope)
    hints = tuple(hints_for(transformation, envelope, body)) if transformation and body is not None else ()
    return Preview(wanted, body, filter_problems + transformation_problems, hints)


def _wanted(filter_: str, envelope: Envelope) -> tuple[bool | None, tuple[Problem, ...]]:
    try:
        return not filter_ or compile_filter(filter_).matches(envelope), ()
    except SpecError as error:
        return None, (Problem("filter", error.path, error.message),)
    except TransformError as error:
        return None, (Problem("filter", error.path, error.message, error.reason),)


def _body(transformation: str, envelope: Envelope) -> tuple[bytes | None, tuple[Problem, ...]]:
    try:
        return body_for(transformation, envelope), ()
    except SpecError as error:
        return None, (Problem("transformation", error.path, error.message),)
    except TransformError as error:
        return None, (Problem("transformation", error.path, error.message, error.reason),)
