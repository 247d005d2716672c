"""Finds the subscriptions that want an event: an index from event types to routes, in memory, and then their filters.

Reads no database: delivery.routes fills the index and applies changes with `put`, `remove` and `replace_all`. A look-up
of a known event type takes one dictionary access. The first one, and the first after a change that affects the type,
takes time in proportion to the subscriptions that match, however many others there are.

Threads may look up while others change the index: a look-up sees it before or after a change, never in between.
`select` evaluates the filters of the routes that were found.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain

from partners.budget import FILTER, FILTERS_OF_PARTNER, Budget
from partners.envelope import Envelope
from partners.errors import TransformError
from partners.filters import Filter
from partners.patterns import candidates

SEEN_TYPES_MAX = 10_000
"""Bounds the memory when a producer invents an event type for each event."""


@dataclass(frozen=True, slots=True)
class Route:
    """What routing needs of a subscription. `patterns` are valid; without a filter it wants all events that match."""

    subscription_id: str
    partner_id: str
    patterns: tuple[str, ...]
    filter: Filter | None = None


@dataclass(slots=True)
class Selection:
    """The result of the filters for one event."""

    wanted: list[Route] = field(default_factory=list)
    failed: list[tuple[Route, TransformError]] = field(default_factory=list)


def select(routes: Iterable[Route], make_envelope: Callable[[], Envelope]) -> Selection:
    """Evaluates the filters of these routes for this event.

    When a filter fails (`failed`), nobody knows whether the event is wanted: the caller stores a dead delivery with the
    reason, so that nothing is lost silently. The envelope is made once, and only if there is a filter; routes with the
    same filter share its result. Raises JSONError when the data is not JSON.
    """
    selection = Selection()
    filters: _Filters | None = None
    for route in routes:
        if route.filter is None:
            selection.wanted.append(route)
            continue
        filters = filters or _Filters(make_envelope())
        answer = filters.ask(route.filter, route.partner_id)
        if isinstance(answer, TransformError):
            selection.failed.append((route, answer))
        elif answer:
            selection.wanted.append(route)
    return selection


class _Filters:
    """Evaluates filters for one event: each different filter once, and those of a partner within a common budget."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._answers: dict[str, bool | TransformError] = {}
        self._of_each = FILTER.steps(envelope.data)
        self._of_partner = FILTERS_OF_PARTNER.steps(envelope.data)
        self._left: dict[str, int] = {}
        """The steps that each partner's filters have left."""
        self._budget = Budget(self._of_each)
        """The budget of the filter that is evaluated."""

    def ask(self, filter_: Filter, partner_id: str) -> bool | TransformError:
        answer = self._answers.get(filter_.text)
        if answer is not None:
            return answer
        left = self._left.get(partner_id, self._of_partner)
        if left <= 0:
            return self._too_much_together()
        budget = self._budget
        budget.steps = allowed = min(self._of_each, left)
        try:
            answer = filter_.matches(self._envelope, budget)
        except TransformError as error:
            answer = error if allowed == self._of_each else self._too_much_together()
        self._left[partner_id] = left - 1 - allowed + max(budget.steps, 0)  # each evaluation counts as a step, too
        if left >= self._of_each:  # else the result is not kept: another partner may have enough steps left
            self._answers[filter_.text] = answer
        return answer

    def _too_much_together(self) -> TransformError:
        message = f"more than the {self._of_partner} steps that this event allows to all filters of a partner together"
        return TransformError("too_much_work", message)


class RoutingIndex:
    """An index from event types to routes. Thread-safe."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, Route] = {}
        self._by_pattern: dict[str, dict[str, Route]] = {}
        self._seen: dict[str, tuple[Route, ...]] = {}
        self._seen_by_pattern: dict[str, set[str]] = {}
        self.replace_all(routes)

    def matching(self, event_type: str) -> tuple[Route, ...]:
        """The routes whose patterns match, each once, in any order. Does not evaluate their filters."""
        found = self._seen.get(event_type)
        return self._look_up(event_type) if found is None else found

    def put(self, route: Route) -> None:
        """Adds a route, or replaces the one of the same subscription."""
        with self._lock:
            self._take_out(route.subscription_id)
            self._put_in(route)

    def remove(self, subscription_id: str) -> None:
        """Does nothing if there is no such route."""
        with self._lock:
            self._take_out(subscription_id)

    def replace_all(self, routes: Iterable[Route]) -> None:
        by_id = {route.subscription_id: route for route in routes}
        by_pattern: dict[str, dict[str, Route]] = {}
        for route in by_id.values():
            for pattern in route.patterns:
                by_pattern.setdefault(pattern, {})[route.subscription_id] = route
        with self._lock:
            self._routes, self._by_pattern = by_id, by_pattern
            self._seen.clear()
            self._seen_by_pattern.clear()

    def _look_up(self, event_type: str) -> tuple[Route, ...]:
        with self._lock:
            patterns = candidates(event_type)
            groups = [self._by_pattern[pattern] for pattern in patterns if pattern in self._by_pattern]
            found = tuple(groups[0].values()) if len(groups) == 1 else _once_each(groups)
            if len(self._seen) >= SEEN_TYPES_MAX:
                self._drop(next(iter(self._seen)))
            self._seen[event_type] = found
            for pattern in patterns:
                self._seen_by_pattern.setdefault(pattern, set()).add(event_type)
            return found

    def _put_in(self, route: Route) -> None:
        self._routes[route.subscription_id] = route
        for pattern in route.patterns:
            self._by_pattern.setdefault(pattern, {})[route.subscription_id] = route
        self._forget(route.patterns)

    def _take_out(self, subscription_id: str) -> None:
        route = self._routes.pop(subscription_id, None)
        if route is None:
            return
        for pattern in set(route.patterns):
            group = self._by_pattern[pattern]
            del group[subscription_id]
            if not group:
                del self._by_pattern[pattern]
        self._forget(route.patterns)

    def _forget(self, patterns: Iterable[str]) -> None:
        """Drops the look-ups of event types that these patterns match."""
        for pattern in patterns:
            for event_type in tuple(self._seen_by_pattern.get(pattern, ())):
                self._drop(event_type)

    def _drop(self, event_type: str) -> None:
        del self._seen[event_type]
        for pattern in candidates(event_type):
            seen = self._seen_by_pattern[pattern]
            seen.remove(event_type)
            if not seen:
                del self._seen_by_pattern[pattern]


def _once_each(groups: list[dict[str, Route]]) -> tuple[Route, ...]:
    return tuple({route.subscription_id: route for route in chain.from_iterable(g.values() for g in groups)}.values())
