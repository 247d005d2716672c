"""Evaluates the filters of the subscriptions that may want an event. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from delivery.routing import Matching, Route
from partners.budget import FILTER, FILTERS_AT_ONCE, Budget
from partners.envelope import Envelope
from partners.errors import TransformError
from partners.filters import Filter

Rest = Callable[[], None]
_Answer = bool | TransformError | None
"""Of a filter. None: it needs more steps than it was given."""


@dataclass(slots=True)
class Selection:
    """The result of the filters for one event."""

    wanted: list[Route] = field(default_factory=list)
    failed: list[tuple[Route, TransformError]] = field(default_factory=list)
    later: set[str] = field(default_factory=set)
    """The ids of partners that need so much work that their subscriptions are selected later, by `select_some`."""


def select(matching: Matching, make_envelope: Callable[[], Envelope]) -> Selection:
    """Evaluates the filters of these routes for this event.

    It runs for one event after another, so no partner may make it take long: crowded partners, and those whose filters
    need more than FILTERS_AT_ONCE, get their deliveries later (delivery.fan_out).

    When a filter fails (`failed`), nobody knows whether the event is wanted: the caller stores a dead delivery with the
    reason, so that nothing is lost silently. The envelope is made once, and only if there is a filter. Raises JSONError
    when the data is not JSON.
    """
    selection = Selection(later=set(matching.crowded))
    answers: _Answers | None = None
    left: dict[str, int] = {}
    for route in matching.routes:
        if route.filter is None:
            selection.wanted.append(route)
            continue
        answers = answers or _Answers(make_envelope())
        steps = left.get(route.partner_id, answers.at_once)
        answer = answers.ask(route.filter, steps) if steps > 0 else None
        left[route.partner_id] = 0 if answer is None else steps - answers.used
        _note(selection, route, answer)
    return _without_later(selection) if selection.later else selection


def select_some(
    routes: Iterable[Route], envelope: Envelope, most: int, steps: int, rest: Rest
) -> tuple[Selection, str]:
    """Evaluates the filters of these routes, until there are `most` deliveries, or `steps` are used up.

    Returns also where it stopped: the last subscription's id; empty at the end. `rest` is called from time to time.
    Raises JSONError.
    """
    selection, answers = Selection(), _Answers(envelope, rest)
    last = ""
    for route in routes:
        if steps <= 0 or len(selection.wanted) + len(selection.failed) >= most:
            return selection, last
        answer: _Answer = True
        if route.filter is not None:
            answer = answers.ask(route.filter, answers.of_each)
            steps -= answers.used
        steps -= 1
        _note(selection, route, answer)
        last = route.subscription_id
    return selection, ""


def _note(selection: Selection, route: Route, answer: _Answer) -> None:
    if answer is None:
        selection.later.add(route.partner_id)
    elif isinstance(answer, TransformError):
        selection.failed.append((route, answer))
    elif answer:
        selection.wanted.append(route)


def _without_later(selection: Selection) -> Selection:
    later = selection.later
    return Selection(
        wanted=[route for route in selection.wanted if route.partner_id not in later],
        failed=[(route, error) for route, error in selection.failed if route.partner_id not in later],
        later=later,
    )


class _Answers:
    """Evaluates filters for one event, each different one once."""

    def __init__(self, envelope: Envelope, rest: Rest | None = None) -> None:
        self._envelope = envelope
        self._rest = rest
        self._known: dict[str, bool | TransformError] = {}
        self.of_each = FILTER.steps(envelope.data)
        self.at_once = FILTERS_AT_ONCE.steps(envelope.data)
        self.used = 0
        """How many steps the last question took."""

    def ask(self, filter_: Filter, most: int) -> _Answer:
        """Evaluates the filter, with at most `most` steps."""
        self.used = 1
        answer: _Answer = self._known.get(filter_.text)
        if answer is not None:
            return answer
        allowed = min(most, self.of_each)
        budget = Budget(allowed, rest=self._rest)
        try:
            answer = filter_.matches(self._envelope, budget)
        except TransformError as error:
            if allowed < self.of_each:
                return None
            answer = error
        self.used += allowed - budget.steps
        self._known[filter_.text] = answer
        return answer
