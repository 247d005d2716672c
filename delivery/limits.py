"""Keeps the broker's limits equal to the partners' rows.

Every worker does it, on every change: writing the same limit twice changes nothing. Reconciliation holds what the
broker has against the rows, so that none is forgotten because Valkey was away, or lost what it had written last.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import redis
from django.db import connection

from delivery import publish
from delivery.breaker import FIRST_PERIOD_S, LONGEST_PERIOD_S
from delivery.broker import FairQueues, InvalidRate, QueueLimits, parse_rate
from delivery.clocks import ahead_of_valkey_s
from delivery.errors import Postponed
from delivery.metrics.process import broker_failed
from partners.changes import Change
from partners.models import FOREVER, Partner, Subscription
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

_ONCE_IN_S = 1.0
_LONGEST_HELD_S = LONGEST_PERIOD_S + FIRST_PERIOD_S
"""For how long breakers hold a queue back at most (delivery.deliver.refusal)."""

_not_written = Trouble(logger, "limits wait for Valkey")


def limits_of(partner: Partner) -> QueueLimits:
    paused_until = None
    if partner.paused_until is not None:
        paused_until = float("inf") if partner.paused_until >= FOREVER else partner.paused_until.timestamp()
    return QueueLimits(
        queue=publish.queue_of(partner.id),
        rate=partner.rate_limit_in_force or None,
        max_in_flight=partner.max_in_flight,
        paused_until=paused_until,
    )


def push_limits(partner_ids: Iterable[str] | None = None, to: FairQueues | None = None) -> int:
    """Writes the limits of these partners (all: None) to the broker; returns how many. Raises redis.RedisError.

    One whose rate cannot be read, which no form lets in, keeps the limits that it had.
    """
    partners = Partner.objects.all() if partner_ids is None else Partner.objects.filter(pk__in=list(partner_ids))
    limits = [limits_of(partner) for partner in partners.iterator() if _has_a_rate(partner)]
    (to or publish.queues()).configure_many(limits)
    return len(limits)


def wrong_limits(of: FairQueues | None = None) -> list[str]:
    """The partners whose limits in the broker are not those of their rows. Raises redis.RedisError.

    A pause may be longer than the row's, for as long as breakers hold a queue back.
    """
    queues = of or publish.queues()
    written, (seconds, _) = queues.all_limits(), queues.client.time()
    return [
        partner.pk
        for partner in Partner.objects.only("rate_limit", "rate_limit_ceiling", "max_in_flight", "paused_until")
        if not _are_as(limits_of(partner), written.get(publish.queue_of(partner.pk)), seconds)
    ]


def _has_a_rate(partner: Partner) -> bool:
    """Or none; False when nobody knows what it is."""
    try:
        parse_rate(limits_of(partner).rate)
    except InvalidRate as error:
        logger.error("limits not written", extra={"partner_id": partner.pk, "error": str(error)})
        return False
    return True


def _are_as(wanted: QueueLimits, written: QueueLimits | None, now: float) -> bool:
    try:
        rate = parse_rate(wanted.rate)
    except InvalidRate:
        return False
    if written is None or (rate, wanted.max_in_flight) != (written.rate, written.max_in_flight):
        return False
    until, held_until = (max(one.paused_until or 0.0, now) for one in (wanted, written))
    return until <= held_until <= max(until, now + _LONGEST_HELD_S)


def mend_limits(to: FairQueues | None = None) -> None:
    """Writes the limits that are wrong in the broker, and looks again: a row that changed since it was read was perhaps
    announced before the older one was written. Raises redis.RedisError."""
    for _ in range(2):
        wrong = wrong_limits(to)
        if not wrong:
            break
        push_limits(wrong, to)


def hold_back(postponed: Iterable[Postponed], to: FairQueues | None = None) -> set[str]:
    """Stops the queues of partners all of whose subscriptions are among these, until the first of them may be probed.

    Otherwise every waiting message would be fetched only to be postponed, and a big backlog behind a dead endpoint
    would keep the workers busy. Never ends a pause by staff or partner sooner. Returns which partners are held back.
    """
    untils: dict[str, float] = {}
    down: dict[str, set[str]] = defaultdict(set)
    for one in postponed:
        untils[one.partner_id] = min(one.until, untils.get(one.partner_id, one.until))
        down[one.partner_id].add(one.subscription_id)
    sharing = _with_others(down)
    partners = [partner for partner in Partner.objects.filter(pk__in=list(down)) if partner.pk not in sharing]
    if not partners:
        return set()
    queues = to or publish.queues()
    ahead_s = ahead_of_valkey_s(queues.client)  # times are of this host's clock
    queues.pause_all(
        {
            publish.queue_of(partner.pk): max(untils[partner.pk] - ahead_s, limits_of(partner).paused_until or 0.0)
            for partner in partners
        }
    )
    # What changed since the look above was perhaps announced before the queues were paused.
    held = {partner.pk: partner.paused_until for partner in partners}
    now = dict(Partner.objects.filter(pk__in=list(held)).values_list("pk", "paused_until"))
    late = {pk for pk in held if now.get(pk) != held[pk]} | (held.keys() & _with_others(down))
    if late:
        push_limits(late, to)
    return held.keys() - late


class Restraint:
    """`hold_back` for one that meets the same open breakers again and again: once a second for each partner, and when
    another of its subscriptions is met, with all of them that were met in the last second. Thread-safe."""

    def __init__(self, hold_back: Callable[[Sequence[Postponed]], object] = hold_back) -> None:
        self._hold_back = hold_back
        self._met: dict[str, tuple[Postponed, float]] = {}
        """By subscription, with when it was."""
        self._asked: dict[str, float] = {}
        """When, by partner."""
        self._lock = threading.Lock()

    def __call__(self, postponed: Sequence[Postponed]) -> None:
        now = time.monotonic()
        with self._lock:
            self._met = {key: (one, at) for key, (one, at) in self._met.items() if now - at < _ONCE_IN_S}
            self._asked = {key: at for key, at in self._asked.items() if now - at < _ONCE_IN_S}
            due = {
                one.partner_id
                for one in postponed
                if one.partner_id not in self._asked or one.subscription_id not in self._met
            }
            self._met.update({one.subscription_id: (one, now) for one in postponed})
            self._asked.update(dict.fromkeys(due, now))
            wanted = [one for one, _ in self._met.values() if one.partner_id in due]
        if wanted:
            self._hold_back(wanted)


def _with_others(down: Mapping[str, Collection[str]]) -> set[str]:
    """Which of these partners have enabled subscriptions beside these."""
    enabled = Subscription.objects.filter(partner__in=list(down), is_enabled=True, deleted_at=None)
    return {partner for partner, pk in enabled.values_list("partner_id", "pk") if pk not in down[partner]}


def push_change(change: Change, to: FairQueues | None = None) -> int:
    """Writes the limits that a change may have touched; returns how many. Raises redis.RedisError.

    A changed subscription ends what holds its partner's queue back: it may not share the trouble of the one before.
    """
    if change.kind == "everything":
        return push_limits(to=to)
    if change.kind == "partner":
        return push_limits([change.id], to)
    if change.kind == "subscription":
        return push_limits(Subscription.objects.filter(pk=change.id).values_list("partner_id", flat=True), to)
    return 0


def take_over(change: Change, to: FairQueues | None = None) -> None:
    """The same for PostgreSQL's announcements: with Valkey away, reconciliation writes them when it is back."""
    try:
        if push_change(change, to):
            _not_written.over()
    except redis.RedisError as error:
        broker_failed("limits")
        _not_written.met(error)
    finally:
        connection.close_if_unusable_or_obsolete()
