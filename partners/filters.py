"""Filters of subscriptions: paths. An event is delivered if the path finds something in it.

`$` is the envelope. `partners.paths` has the language; docs/transformations.md is its reference.
"""

from dataclasses import dataclass

from partners.budget import FILTER, Budget
from partners.compiled import CompiledCache
from partners.envelope import Envelope
from partners.paths import Path, Scope, compile_path


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter. Thread-safe."""

    text: str
    path: Path

    def matches(self, envelope: Envelope, budget: Budget | None = None) -> bool:
        """Whether the path finds something, null included. By default the budget is that of one filter for this event.

        Raises TransformError (`too_much_work`) if it needs more steps than the budget has, and JSONError if the
        event's data is not JSON.
        """
        return self.path.finds(Scope(envelope.tree, budget or Budget(FILTER.steps(envelope.data))))


def compile_filter(text: str) -> Filter:
    """Compiles a filter; cached by its text. Raises SpecError, whose message names the character."""
    return _COMPILED.get(text)


def _compile(text: str) -> Filter:
    text = text.strip()
    return Filter(text, compile_path(text))


_COMPILED = CompiledCache(_compile)
