"""The present state of a partner: its queue, the breakers of its endpoints, its backlog. Read-only.

Queue, breakers and workers come from Valkey, the backlog from PostgreSQL. While Valkey is away, only the backlog is
known.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import redis
from django.db.models import Min

from delivery import publish
from delivery.backlog import Backlog, backlog_by, first_due
from delivery.breaker_store import SharedBreakers
from delivery.broker import FairQueues
from delivery.clocks import moment_of
from delivery.models import FanOut


@dataclass(frozen=True, slots=True)
class BreakerState:
    """`open`: nothing is sent. `half_open`: the next delivery is sent as a probe, or a probe is being sent."""

    state: Literal["closed", "half_open", "open"]
    since: datetime | None = None
    next_probe_at: datetime | None = None


CLOSED = BreakerState("closed")


@dataclass(frozen=True, slots=True)
class Queue:
    """How many deliveries are `waiting` (sent as soon as the limits allow), `delayed` (not due yet) and `in_flight`.

    `tokens`: how many the rate limit lets through at once. `held_until`: the end of a pause that somebody made, or
    that workers made because the breakers of all subscriptions are open or an endpoint kept them busy.
    """

    waiting: int
    delayed: int
    in_flight: int
    tokens: int | None
    held_until: datetime | None

    @property
    def waits_for_rate(self) -> bool:
        return self.tokens is not None and self.waiting > self.tokens

    def waits_for_answers(self, max_in_flight: int) -> bool:
        return bool(self.waiting) and self.in_flight >= max_in_flight


@dataclass(frozen=True, slots=True)
class Live:
    """`queue` is None if the broker does not answer: then `breakers` is not known either. `backlogs` (by subscription)
    is None if counting would take too long."""

    queue: Queue | None
    backlogs: Mapping[str, Backlog] | None
    workers: int = 0
    breakers: Mapping[str, BreakerState] = field(default_factory=dict)
    """Breakers that are not closed, by subscription."""
    oldest_fan_out_at: datetime | None = None
    """When the oldest event came of which the partner's deliveries are still to be made (delivery.fan_out)."""
    first_due: Mapping[str, datetime] = field(default_factory=dict)
    """Instead of `backlogs`, if these are None: when the first of all pending deliveries was or will be due, by its
    subscription."""

    def breaker(self, subscription_id: str) -> BreakerState:
        return self.breakers.get(subscription_id, CLOSED)

    def oldest_waiting_s(self, now: datetime, subscription_ids: Collection[str] | None = None) -> float | None:
        """For how long the oldest due delivery has been due, of all or of some subscriptions; None if none is due, or,
        without `backlogs`, if the oldest of all is of another subscription. Of all: also deliveries that are still to
        be made."""
        found = self.first_due if self.backlogs is None else self.backlogs
        wanted = found if subscription_ids is None else [key for key in subscription_ids if key in found]
        due = map(self._due_at, wanted)  # of one subscription: without a look at thousands of others
        ages = [(now - at).total_seconds() for at in due if at <= now]
        if subscription_ids is None and (age := self.oldest_fan_out_s(now)) is not None:
            ages.append(age)
        return max(ages, default=None)

    def _due_at(self, subscription_id: str) -> datetime:
        if self.backlogs is None:
            return self.first_due[subscription_id]
        return self.backlogs[subscription_id].next_attempt_at

    def oldest_fan_out_s(self, now: datetime) -> float | None:
        return None if self.oldest_fan_out_at is None else (now - self.oldest_fan_out_at).total_seconds()


Backlogs = Mapping[str, Backlog] | None


def backlogs_of(partner_id: str) -> Backlogs:
    """By subscription; None if counting takes too long."""
    return backlog_by("subscription_id", partner_id)


def live(partner_id: str, now: datetime, count: Callable[[str], Backlogs] = backlogs_of) -> Live:
    backlogs = count(partner_id)
    first = first_due(partner_id) if backlogs is None else {}
    oldest = FanOut.objects.filter(partner=partner_id).aggregate(at=Min("created_at"))["at"]
    try:
        queue, workers, breakers = queue_now(partner_id), _queues().living_workers(), open_breakers(now)
    except redis.RedisError:
        return Live(None, backlogs, oldest_fan_out_at=oldest, first_due=first)
    return Live(queue, backlogs, workers, breakers, oldest, first)


def _queues() -> FairQueues:
    return publish.queues(publish.BRIEF_S)


def queue_now(partner_id: str) -> Queue:
    """Raises redis.RedisError."""
    name = publish.queue_of(partner_id)
    stats = _queues().stats([name])[name]
    return Queue(
        waiting=stats.ready,
        delayed=stats.delayed,
        in_flight=stats.in_flight,
        tokens=None if stats.tokens is None else max(int(stats.tokens), 0),
        held_until=None if stats.paused_until is None else moment_of(stats.paused_until),
    )


def open_breakers(now: datetime) -> Mapping[str, BreakerState]:
    """Breakers that are not closed, by subscription. Raises redis.RedisError."""
    shared = SharedBreakers(_queues().client)
    since = shared.since()
    found = {}
    for subscription_id, opened in shared.opened().items():
        until = moment_of(opened.until)
        opened_at = moment_of(since[subscription_id]) if subscription_id in since else None
        is_open = now < until
        found[subscription_id] = BreakerState("open" if is_open else "half_open", opened_at, until if is_open else None)
    return found
