"""Queues all pending deliveries again after Valkey was wiped: first overdue ones, partner by partner, then retries.

Valkey stores the progress, so that a run continues where the last one ended or was killed. After the last page Valkey
is marked as complete. If it is wiped again meanwhile, the progress is lost too, and everything starts again.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import orjson

from delivery import publish
from delivery.broker import FairQueues
from delivery.due import Queued
from delivery.overdue import OLDEST, PAGE, pages, partners_with_overdue, scheduled

logger = logging.getLogger(__name__)

_REACHED = "reconcile-mending"
_OVERDUE, _SCHEDULED = "overdue", "scheduled"

Place = list[str]
"""The part (overdue or scheduled), and the position of the last delivery of it that was queued."""
_START: Place = [_OVERDUE, "", "", ""]


def mend(to: FairQueues, grace_s: float, is_over: Callable[[], bool], size: int = PAGE) -> tuple[int, int]:
    """Queues at least one page; returns how many deliveries were read, and queued. Raises as `reconcile` does."""
    checked = queued = 0
    for page, place in _remaining_pages(_reached(to), grace_s, size):
        queued += publish.publish(page, to)
        checked += len(page)
        is_still_there = to.client.set(_REACHED, orjson.dumps(place), xx=True)
        if not is_still_there or is_over():
            return checked, queued
    if to.client.delete(_REACHED):
        to.mark()
    return checked, queued


def _reached(to: FairQueues) -> Place:
    found = to.client.get(_REACHED)
    if found is not None:
        place: Place = orjson.loads(found)
        return place
    logger.warning("the broker was wiped: queueing everything again")
    to.client.set(_REACHED, orjson.dumps(_START))
    return _START


def _remaining_pages(place: Place, grace_s: float, size: int) -> Iterator[tuple[Sequence[Queued], Place]]:
    """The remaining pages, each with the place that it reaches."""
    part, *after = place
    if part == _OVERDUE:
        of, due_at, delivery_id = after
        for partner_id in partners_with_overdue(grace_s):
            if partner_id < of:
                continue
            start = (datetime.fromisoformat(due_at), delivery_id) if partner_id == of else OLDEST
            for page, (at, last) in pages(partner_id, grace_s, start, size=size):
                yield page, [_OVERDUE, partner_id, at.isoformat(), last]
        after = [""]
    for retries in scheduled(after[0], size):
        yield retries, [_SCHEDULED, retries[-1].delivery_id]
