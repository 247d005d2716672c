"""Finds pending deliveries and fan-outs that the broker does not hold, and queues them: Valkey was wiped, or lost a
message. Also writes limits that differ from the partners' rows, and closes breakers that no attempt will close.

PostgreSQL is the truth. A run is limited to a few seconds, because it competes with the deliveries of its process for
the GIL; the next run starts with the next partner. For each partner with overdue deliveries a run checks a page of the
newest ones, where most losses are, and a page of older ones: successive runs go back to the oldest. The broker is asked
for exact message ids. A wiped Valkey has also lost its marker; then everything is queued again (delivery.mending).
Queueing a delivery that the broker holds has no effect.
"""

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kombu.utils.encoding import bytes_to_str

from delivery import publish
from delivery.breaker_store import SharedBreakers
from delivery.broker import FairQueues
from delivery.due import Queued
from delivery.limits import mend_limits
from delivery.mending import mend
from delivery.overdue import GRACE_S, NEWEST, PAGE, Position, pages, partners_with_overdue, still_pending
from partners.models import Subscription

logger = logging.getLogger(__name__)

WORK_S = 2.0
"""The time limit of a run; beat starts one every ten seconds."""
MENDING_S = 60.0
"""The time limit while a wiped broker is refilled: until then, the missing deliveries are not made at all."""
_LAST_PARTNER = "reconcile-partner"
"""Key: the last partner of a run that ran out of time."""
_REACHED = "reconcile-reached:"
"""Key, for each partner with more overdue deliveries than a run checks: the position that the last run reached."""
_REACHED_KEPT_S = 3600

IsOver = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Reconciled:
    checked: int
    queued: int
    was_wiped: bool


def reconcile(queues: FairQueues | None = None, grace_s: float = GRACE_S, within_s: float | None = None) -> Reconciled:
    """Makes one run. Raises redis.RedisError or django.db.Error; a later run does the rest."""
    to = queues or publish.queues()
    was_wiped = to.was_wiped()
    mend_limits(to)
    _close_unused_breakers(SharedBreakers(to.client))
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


def _close_unused_breakers(shared: SharedBreakers) -> None:
    """Closes the breakers of subscriptions that are disabled or deleted: no attempt will."""
    opened = shared.opened()
    enabled = set(Subscription.objects.filter(pk__in=list(opened), is_enabled=True).values_list("pk", flat=True))
    for subscription_id in opened.keys() - enabled:
        shared.close(subscription_id)


def find_lost(of: FairQueues, grace_s: float = GRACE_S) -> Iterator[tuple[int, list[Queued]]]:
    """Checks all overdue deliveries, partner by partner, the oldest first. Yields for each page its length and the
    deliveries that the broker does not hold. Raises as `reconcile` does."""
    for partner_id in partners_with_overdue(grace_s):
        for page, _ in pages(partner_id, grace_s):
            yield len(page), _lost(partner_id, page, of)


def _lost(partner_id: str, page: Sequence[Queued], of: FairQueues) -> list[Queued]:
    """What was made after the page was read is not lost, though the broker does not hold it either."""
    missing = publish.missing(partner_id, page, of=of)
    return still_pending(missing) if missing else []


def _never() -> bool:
    return False


def look_back(
    of: FairQueues, grace_s: float = GRACE_S, size: int = PAGE, is_over: IsOver = _never
) -> Iterator[tuple[int, list[Queued]]]:
    """Like `find_lost`, for two pages of each partner, and more where deliveries are lost: back from the newest, and
    back from where the last run ended. Starts after the partner at which the last run ran out of time."""
    for partner_id in _in_turn(partners_with_overdue(grace_s), of):
        yield from _look_back(partner_id, of, grace_s, size, is_over)
        if is_over():
            of.client.set(_LAST_PARTNER, partner_id)
            return
    of.client.delete(_LAST_PARTNER)


def _in_turn(partner_ids: Sequence[str], of: FairQueues) -> Sequence[str]:
    last = bytes_to_str(of.client.get(_LAST_PARTNER) or b"")
    next_ = bisect_right(partner_ids, last)
    return [*partner_ids[next_:], *partner_ids[:next_]]


def _look_back(
    partner_id: str, of: FairQueues, grace_s: float, size: int, is_over: IsOver
) -> Iterator[tuple[int, list[Queued]]]:
    at, reached = NEWEST, _reached(partner_id, of)
    for start in (NEWEST, reached or NEWEST):
        for page, end in pages(partner_id, grace_s, min(at, start), back=True, size=size):
            at = end
            lost = _lost(partner_id, page, of)
            yield len(page), lost
            if len(page) == size and (not lost or is_over()):
                break
        else:
            if reached:
                of.client.delete(_REACHED + partner_id)
            return
        if lost:  # out of time: the next run continues here, where more may be lost
            break
    of.client.set(_REACHED + partner_id, f"{at[0].isoformat()} {at[1]}", ex=_REACHED_KEPT_S)


def _reached(partner_id: str, of: FairQueues) -> Position | None:
    found = of.client.get(_REACHED + partner_id)
    if found is None:
        return None
    moment, _, delivery_id = bytes_to_str(found).partition(" ")
    return datetime.fromisoformat(moment), delivery_id
