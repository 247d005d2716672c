"""Finds pending deliveries that the broker does not hold, and queues them: after a wiped Valkey, or a lost message.
Limits that it does not have as the partners' rows do are written.

PostgreSQL is the truth. A run takes a few seconds, since this process' deliveries wait for Python's lock meanwhile, and
the next one goes on with the next partner. It asks, for each partner with overdue deliveries, about a page of the
newest ones, where most of what is lost is, and about a page of older ones: one look after the other goes back to the
oldest. The broker answers by exact message ids. A wiped Valkey has lost its marker as well, so then everything is
queued anew (delivery.mending). Queueing what is queued already does nothing.
"""

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kombu.utils.encoding import bytes_to_str

from delivery import publish
from delivery.broker import FairQueues
from delivery.due import Due
from delivery.limits import mend_limits
from delivery.mending import mend
from delivery.overdue import GRACE_S, NEWEST, PAGE, Position, pages, partners_with_overdue

logger = logging.getLogger(__name__)

WORK_S = 2.0
"""Of a run; there is one every ten seconds."""
MENDING_S = 60.0
"""The same while a wiped broker is filled: nothing is delivered that is not queued."""
_LAST_PARTNER = "reconcile-partner"
"""Who was looked at last by a run whose time was over."""
_REACHED = "reconcile-reached:"
"""How far back the last run came, for each partner with more than it looked at."""
_REACHED_KEPT_S = 3600

IsOver = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Reconciled:
    checked: int
    queued: int
    was_wiped: bool


def reconcile(queues: FairQueues | None = None, grace_s: float = GRACE_S, within_s: float | None = None) -> Reconciled:
    """One run. Raises redis.RedisError or django.db.Error; a later run does what this one could not."""
    to = queues or publish.queues()
    was_wiped = to.was_wiped()
    mend_limits(to)
    ends = time.monotonic() + (within_s or (MENDING_S if was_wiped else WORK_S))

    def is_over() -> bool:
        return time.monotonic() > ends

    if was_wiped:
        checked, queued = mend(to, grace_s, is_over)
    else:
        checked = queued = 0
        for looked_at, lost in look_back(to, grace_s, is_over=is_over):
            queued += publish.publish(lost, to)
            checked += looked_at
    if queued:
        logger.warning("queued deliveries that the broker had lost", extra={"queued": queued, "checked": checked})
    return Reconciled(checked, queued, was_wiped)


def find_lost(of: FairQueues, grace_s: float = GRACE_S) -> Iterator[tuple[int, list[Due]]]:
    """For each page of overdue deliveries: how many those are, and which of them the broker does not hold.

    All of them, oldest first. Raises as `reconcile` does.
    """
    for partner_id in partners_with_overdue(grace_s):
        for page, _ in pages(partner_id, grace_s):
            yield len(page), publish.missing(partner_id, page, of=of)


def _never() -> bool:
    return False


def look_back(
    of: FairQueues, grace_s: float = GRACE_S, size: int = PAGE, is_over: IsOver = _never
) -> Iterator[tuple[int, list[Due]]]:
    """The same for two pages of each partner, and for more where something is missing: back from the newest, and back
    from where the last look ended. Begins after the partner with whom the time was over."""
    for partner_id in _in_turn(partners_with_overdue(grace_s), of):
        yield from _look_back(partner_id, of, grace_s, size, is_over)
        if is_over():
            of.client.set(_LAST_PARTNER, partner_id)
            return


def _in_turn(partner_ids: Sequence[str], of: FairQueues) -> Sequence[str]:
    last = bytes_to_str(of.client.get(_LAST_PARTNER) or b"")
    ordered = sorted(partner_ids)
    next_ = bisect_right(ordered, last)
    return ordered[next_:] + ordered[:next_]


def _look_back(
    partner_id: str, of: FairQueues, grace_s: float, size: int, is_over: IsOver
) -> Iterator[tuple[int, list[Due]]]:
    at, reached = NEWEST, _reached(partner_id, of)
    for start in (NEWEST, reached or NEWEST):
        for page, end in pages(partner_id, grace_s, min(at, start), back=True, size=size):
            at = end
            lost = publish.missing(partner_id, page, of=of)
            yield len(page), lost
            if len(page) == size and (not lost or is_over()):
                break
        else:
            if reached:
                of.client.delete(_REACHED + partner_id)
            return
        if lost:  # the time is over: here it goes on, where more may be missing
            break
    of.client.set(_REACHED + partner_id, f"{at[0].isoformat()} {at[1]}", ex=_REACHED_KEPT_S)


def _reached(partner_id: str, of: FairQueues) -> Position | None:
    found = of.client.get(_REACHED + partner_id)
    if found is None:
        return None
    moment, _, delivery_id = bytes_to_str(found).partition(" ")
    return datetime.fromisoformat(moment), delivery_id
