"""Finds the subscriptions that may want an event: an index from event types to routes, in memory.

Reads no database: delivery.routes fills the index and applies changes with `put`, `remove` and `replace_all`. A look-up
of a known event type takes one dictionary access. The first one, and the first after a change that affects the type,
takes time in proportion to the subscriptions that match, however many others there are.

Threads may look up while others change the index: a look-up sees it before or after a change, never in between.
delivery.selection evaluates the filters of the routes that were found.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from partners.filters import Filter
from partners.patterns import candidates

SEEN_TYPES_MAX = 10_000
"""Bounds the memory when a producer invents an event type for each event."""
MOST_ROUTES = 100
"""A partner with more subscriptions for an event type gets its deliveries later (delivery.fan_out)."""


@dataclass(frozen=True, slots=True)
class Route:
    """What routing needs of a subscription. `patterns` are valid; without a filter it wants all events that match."""

    subscription_id: str
    partner_id: str
    patterns: tuple[str, ...]
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """What the index has for an event type, filters aside."""

    routes: tuple[Route, ...]
    crowded: tuple[str, ...]
    """The ids of partners with more than MOST_ROUTES, which are not in `routes`."""


class RoutingIndex:
    """An index from event types to routes. Thread-safe."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, Route] = {}
        self._by_pattern: dict[str, dict[str, Route]] = {}
        self._of_partner: Counter[str] = Counter()
        """How many routes each partner has."""
        self._large: set[str] = set()
        """The partners with more than MOST_ROUTES."""
        self._seen: dict[str, Matching] = {}
        self._seen_by_pattern: dict[str, set[str]] = {}
        self.replace_all(routes)

    def matching(self, event_type: str) -> Matching:
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
        of_partner = Counter(route.partner_id for route in by_id.values())
        with self._lock:
            self._routes, self._by_pattern, self._of_partner = by_id, by_pattern, of_partner
            self._large = {partner_id for partner_id, count in of_partner.items() if count > MOST_ROUTES}
            self._seen.clear()
            self._seen_by_pattern.clear()

    def _look_up(self, event_type: str) -> Matching:
        with self._lock:
            patterns = candidates(event_type)
            groups = [self._by_pattern[pattern] for pattern in patterns if pattern in self._by_pattern]
            found = self._matching(groups)
            if len(self._seen) >= SEEN_TYPES_MAX:
                self._drop(next(iter(self._seen)))
            self._seen[event_type] = found
            for pattern in patterns:
                self._seen_by_pattern.setdefault(pattern, set()).add(event_type)
            return found

    def _matching(self, groups: list[dict[str, Route]]) -> Matching:
        routes = tuple(groups[0].values()) if len(groups) == 1 else _once_each(groups)
        if not self._large:
            return Matching(routes, ())
        counts = Counter(route.partner_id for route in routes if route.partner_id in self._large)
        crowded = {partner_id for partner_id, count in counts.items() if count > MOST_ROUTES}
        return Matching(tuple(route for route in routes if route.partner_id not in crowded), tuple(crowded))

    def _count(self, partner_id: str, by: int) -> None:
        self._of_partner[partner_id] += by
        is_large = self._of_partner[partner_id] > MOST_ROUTES
        (self._large.add if is_large else self._large.discard)(partner_id)

    def _put_in(self, route: Route) -> None:
        self._routes[route.subscription_id] = route
        self._count(route.partner_id, 1)
        for pattern in route.patterns:
            self._by_pattern.setdefault(pattern, {})[route.subscription_id] = route
        self._forget(route.patterns)

    def _take_out(self, subscription_id: str) -> None:
        route = self._routes.pop(subscription_id, None)
        if route is None:
            return
        self._count(route.partner_id, -1)
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
