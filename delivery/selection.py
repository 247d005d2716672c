"""Evaluates the filters of the subscriptions that may want an event. Pure."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from delivery.routing import Matching, Route
from partners.budget import FILTER, FILTERS_AT_ONCE, Budget
from partners.envelope import Envelope
from partners.errors import JSONError, TransformError
from partners.filters import Filter

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 10
"""A partner with more deliveries of an event gets them later (delivery.fan_out)."""

Rest = Callable[[], None]


@dataclass(slots=True)
class Selection:
    """Which subscriptions get an event."""

    wanted: list[Route] = field(default_factory=list)
    failed: list[tuple[Route, TransformError]] = field(default_factory=list)
    """Their filter failed, so nobody knows whether the event is wanted. A dead delivery is stored with the reason, so
    that nothing is lost silently."""
    later: set[str] = field(default_factory=set)
    """The ids of partners that need so much work that their subscriptions are selected later, by `select_some`."""


def select(matching: Matching, make_envelope: Callable[[], Envelope]) -> Selection:
    """Selects among these routes for this event.

    It runs for one event after another, so no partner may make it take long: crowded partners, those with more than
    MOST_AT_ONCE deliveries, and those whose filters need more than FILTERS_AT_ONCE get their deliveries later. The
    envelope is made once, and only if there is a filter. Raises JSONError when the data is not JSON.
    """
    wanted: list[Route] = []
    later = set(matching.crowded)
    filters: _FiltersAtOnce | None = None
    counts: Counter[str] = Counter()
    for route in matching.routes:
        partner_id = route.partner_id
        if partner_id in later:
            continue
        if route.filter is not None:
            filters = filters or _FiltersAtOnce(make_envelope())
            answer = filters.ask(route.filter, partner_id)
            if answer is None:
                later.add(partner_id)
            if not answer:
                continue
        wanted.append(route)
        counts[partner_id] += 1
        if counts[partner_id] > MOST_AT_ONCE:
            later.add(partner_id)
    if later:
        wanted = [route for route in wanted if route.partner_id not in later]
    return Selection(wanted, later=later)


class _FiltersAtOnce:
    """Evaluates filters for one event: each different one once, and those of a partner within FILTERS_AT_ONCE."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._answers: dict[str, bool] = {}
        self._allowed = FILTERS_AT_ONCE.steps(envelope.data)
        self._left: dict[str, int] = {}
        """The steps that each partner's filters have left."""

    def ask(self, filter_: Filter, partner_id: str) -> bool | None:
        """None if it takes too many steps, or fails."""
        answer = self._answers.get(filter_.text)
        if answer is not None:
            return answer
        budget = Budget(self._left.get(partner_id, self._allowed))
        try:
            answer = filter_.matches(self._envelope, budget)
        except JSONError:
            raise
        except Exception:  # it fails again, later, and there the reason is stored
            return None
        self._left[partner_id] = budget.steps - 1  # each evaluation counts as a step, too
        self._answers[filter_.text] = answer
        return answer


def select_some(
    routes: Iterable[Route], envelope: Envelope, most: int, is_over: Callable[[], bool], rest: Rest
) -> tuple[Selection, str | None]:
    """Selects among the first of these routes, until there are `most` deliveries, or `is_over` before a filter that is
    not the first.

    Returns also the id of the last subscription that it looked at; None if it was the last of all. `rest` is called
    from time to time. Raises JSONError.
    """
    selection = Selection()
    answers: dict[str, bool | TransformError] = {}
    last = None
    for route in routes:
        if len(selection.wanted) + len(selection.failed) >= most:
            return selection, last
        answer: bool | TransformError | None = True
        if route.filter is not None:
            answer = answers.get(route.filter.text)
            if answer is None:
                if answers and is_over():
                    return selection, last
                rest()
                answer = answers[route.filter.text] = _answer(route, route.filter, envelope, rest)
        if isinstance(answer, TransformError):
            selection.failed.append((route, answer))
        elif answer:
            selection.wanted.append(route)
        last = route.subscription_id
    return selection, None


def _answer(route: Route, filter_: Filter, envelope: Envelope, rest: Rest) -> bool | TransformError:
    try:
        return filter_.matches(envelope, Budget(FILTER.steps(envelope.data), rest=rest))
    except TransformError as error:
        return error
    except JSONError:
        raise
    except Exception as error:  # our own fault, which must not stop the others
        logger.exception("a filter raised an exception", extra={"subscription_id": route.subscription_id})
        return TransformError("internal_error", type(error).__name__)
