"""Which events a subscription wants of those it is asked for: a path, and the event is delivered if it finds something.

`$` is the envelope. The language is that of `partners.paths`; docs/transformations.md is its reference.
"""

from dataclasses import dataclass

from partners.budget import FILTER, Budget
from partners.compiled import CompiledCache
from partners.envelope import Envelope
from partners.paths import Path, Scope, compile_path


@dataclass(frozen=True, slots=True)
class Filter:
    """Compiled; may be used from any number of threads."""

    text: str
    path: Path

    def matches(self, envelope: Envelope, budget: Budget | None = None) -> bool:
        """Whether it finds something; null counts as something.

        Raises TransformError (`too_much_work`) when it needs more steps than the budget has, or than this event allows
        to one filter, and JSONError when the event's data is not JSON.
        """
        return self.path.finds(Scope(envelope.tree, budget or Budget(FILTER.steps(envelope.data))))


def compile_filter(text: str) -> Filter:
    """Remembered by its text. Raises SpecError, with the place among the characters in its message."""
    return _COMPILED.get(text)


def _compile(text: str) -> Filter:
    text = text.strip()
    return Filter(text, compile_path(text))


_COMPILED = CompiledCache(_compile)
