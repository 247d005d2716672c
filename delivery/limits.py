"""Keeps the broker's limits equal to the partners' rows.

Every worker writes each changed limit; writing it twice does no harm. Reconciliation compares the broker's limits with
the rows, in case Valkey was away or lost its last writes.
"""

import logging
import threading
import time
from collections import Counter, defaultdict
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
_FEW = 10
"""Of a partner with more subscriptions that are postponed, a new one does not ask at once whether all are."""
_LONGEST_HELD_S = LONGEST_PERIOD_S + FIRST_PERIOD_S
"""The longest time for which open breakers hold a queue back (delivery.deliver.refusal)."""

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
    """Writes the limits of these partners (None: of all) to the broker; returns how many. Raises redis.RedisError.

    A partner whose rate cannot be parsed, which validation prevents, keeps its former limits.
    """
    partners = Partner.objects.all() if partner_ids is None else Partner.objects.filter(pk__in=list(partner_ids))
    limits = [limits_of(partner) for partner in partners.iterator() if _has_valid_rate(partner)]
    (to or publish.queues()).configure_many(limits)
    return len(limits)


def wrong_limits(of: FairQueues | None = None) -> list[str]:
    """The ids of partners whose limits in the broker differ from their rows. Raises redis.RedisError.

    A pause may be longer than the row's by the time for which open breakers hold the queue back.
    """
    queues = of or publish.queues()
    written, (seconds, _) = queues.all_limits(), queues.client.time()
    return [
        partner.pk
        for partner in Partner.objects.only("rate_limit", "rate_limit_ceiling", "max_in_flight", "paused_until")
        if not _match(limits_of(partner), written.get(publish.queue_of(partner.pk)), seconds)
    ]


def _has_valid_rate(partner: Partner) -> bool:
    try:
        parse_rate(limits_of(partner).rate)
    except InvalidRate as error:
        logger.error("limits not written", extra={"partner_id": partner.pk, "error": str(error)})
        return False
    return True


def _match(wanted: QueueLimits, written: QueueLimits | None, now: float) -> bool:
    try:
        rate = parse_rate(wanted.rate)
    except InvalidRate:
        return False
    if written is None or (rate, wanted.max_in_flight) != (written.rate, written.max_in_flight):
        return False
    until, held_until = (max(one.paused_until or 0.0, now) for one in (wanted, written))
    return until <= held_until <= max(until, now + _LONGEST_HELD_S)


def mend_limits(to: FairQueues | None = None) -> None:
    """Writes the limits that differ in the broker, then compares once more. Raises redis.RedisError.

    A row may have changed after it was read here, and a worker may have written the new limit before the old one was
    written here.
    """
    for _ in range(2):
        wrong = wrong_limits(to)
        if not wrong:
            break
        push_limits(wrong, to)


def hold_back(
    postponed: Iterable[Postponed], to: FairQueues | None = None, clock: Callable[[], float] = time.time
) -> set[str]:
    """Pauses the queue of each partner that is postponed as a whole, or all of whose enabled subscriptions are.

    Otherwise the workers would fetch a whole backlog only to postpone it. The pause lasts until the first attempt is
    due, a minute at most. Never shortens a pause that staff or the partner set. Returns the ids of the partners that
    are held back.
    """
    latest = clock() + LONGEST_PERIOD_S
    untils: dict[str, float] = {}
    down: dict[str, set[str]] = defaultdict(set)
    whole: set[str] = set()
    for one in postponed:
        untils[one.partner_id] = min(one.until, untils.get(one.partner_id, latest))
        down[one.partner_id].add(one.subscription_id)
        if one.of_partner:
            whole.add(one.partner_id)
    sharing = _with_others(down) - whole
    partners = [partner for partner in Partner.objects.filter(pk__in=list(down)) if partner.pk not in sharing]
    if not partners:
        return set()
    queues = to or publish.queues()
    ahead_s = ahead_of_valkey_s(queues.client, clock)  # `until` is a time of this host's clock
    queues.pause_all(
        {
            publish.queue_of(partner.pk): max(untils[partner.pk] - ahead_s, limits_of(partner).paused_until or 0.0)
            for partner in partners
        }
    )
    # A change since the queries above may have been announced, and applied, before the queues were paused.
    held = {partner.pk: partner.paused_until for partner in partners}
    now = dict(Partner.objects.filter(pk__in=list(held)).values_list("pk", "paused_until"))
    late = {pk for pk in held if now.get(pk) != held[pk]} | (held.keys() & _with_others(down) - whole)
    if late:
        push_limits(late, to)
    return held.keys() - late


class Restraint:
    """Limits how often `hold_back` is called, since each postponed delivery asks for it. Thread-safe.

    Calls it once a second for each partner, and at once for a subscription that is new, unless there are many: always
    with all subscriptions of the partner that were postponed in the last second.
    """

    def __init__(self, hold_back: Callable[[Sequence[Postponed]], object] = hold_back) -> None:
        self._hold_back = hold_back
        self._met: dict[str, tuple[Postponed, float]] = {}
        """The latest of each subscription, with its time."""
        self._asked: dict[str, float] = {}
        """When `hold_back` was last called for each partner."""
        self._lock = threading.Lock()

    def __call__(self, postponed: Sequence[Postponed]) -> None:
        now = time.monotonic()
        with self._lock:
            self._met = {key: (one, at) for key, (one, at) in self._met.items() if now - at < _ONCE_IN_S}
            self._asked = {key: at for key, at in self._asked.items() if now - at < _ONCE_IN_S}
            of_partner = Counter(one.partner_id for one, _ in self._met.values())
            due = {
                one.partner_id
                for one in postponed
                if one.partner_id not in self._asked
                or (one.subscription_id not in self._met and of_partner[one.partner_id] < _FEW)
            }
            self._met.update({one.subscription_id: (one, now) for one in postponed})
            self._asked.update(dict.fromkeys(due, now))
            wanted = [one for one, _ in self._met.values() if one.partner_id in due]
        if wanted:
            self._hold_back(wanted)


def _with_others(down: Mapping[str, Collection[str]]) -> set[str]:
    """The ids of those partners that have an enabled subscription which is not in `down`."""
    enabled = Subscription.objects.filter(partner__in=list(down), is_enabled=True, deleted_at=None)
    return {partner for partner, pk in enabled.values_list("partner_id", "pk") if pk not in down[partner]}


def push_changes(changes: Collection[Change], to: FairQueues | None = None) -> int:
    """Writes the limits that these changes may affect; returns how many. Raises redis.RedisError.

    After a change of a subscription its partner's queue is no longer held back: the endpoint may be another one.
    """
    if any(change.kind == "everything" for change in changes):
        return push_limits(to=to)
    partner_ids = {change.id for change in changes if change.kind == "partner"}
    subscription_ids = [change.id for change in changes if change.kind == "subscription"]
    if subscription_ids:
        owners = Subscription.objects.filter(pk__in=subscription_ids)
        partner_ids.update(owners.values_list("partner_id", flat=True))
    return push_limits(partner_ids, to) if partner_ids else 0


def take_over(changes: Collection[Change], to: FairQueues | None = None) -> None:
    """The same for the change listener. While Valkey is away nothing is raised; reconciliation writes them later."""
    try:
        if push_changes(changes, to):
            _not_written.over()
    except redis.RedisError as error:
        broker_failed("limits")
        _not_written.met(error)
    finally:
        connection.close_if_unusable_or_obsolete()
