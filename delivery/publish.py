"""Puts deliveries into the partner queues: the one place that names a queue and publishes a delivery task.

The broker drops a message that it holds already (same delivery, same attempt), so publishing twice is harmless.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import redis
from django.conf import settings

from delivery.broker import FairMessage, FairQueues, connect
from delivery.broker.naming import PREFIX, Naming
from delivery.due import Due
from delivery.metrics.process import broker_failed
from delivery.passing import Silence
from partners.trouble import Trouble

TASK = "delivery.deliver"
EVERY_PARTNER = Naming().every
"""The queue that stands for all partners' queues."""
MAINTENANCE = "maintenance"
"""The queue of what is to be done now and then; an ordinary one."""
VERSION = 1
"""Of what a task message holds: the delivery's id and the attempt's number. Raised when old workers would misread it;
a worker parks what is newer than itself, and must go on reading the version before, so that workers can be replaced one
by one. The task's name never changes: a worker drops tasks whose name it does not know."""
_HEADERS = {"message_version": VERSION}

BrokerUnavailable = redis.RedisError
"""What publishing raises when Valkey cannot be reached; the deliveries stay in PostgreSQL and are queued later."""

BRIEF_S = 1.0
"""For Valkey to answer where somebody waits who can do without."""
_silence = Silence()
_left = Trouble(logging.getLogger(__name__), "deliveries are queued later")


def queue_of(partner_id: str) -> str:
    return PREFIX + partner_id


@lru_cache(maxsize=2)
def queues(timeout_s: float | None = None) -> FairQueues:
    """The broker's queues, shared by the whole process."""
    timeouts = {} if timeout_s is None else {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return FairQueues(connect(settings.BROKER_URL, **timeouts))


def publish(due: Iterable[Due], to: FairQueues | None = None) -> int:
    """Queues the attempts in one or two round trips; returns how many the broker did not know yet."""
    messages = [
        FairMessage(
            queue=queue_of(one.partner_id),
            id=one.message_id,
            task=TASK,
            args=(one.delivery_id, one.attempt),
            eta=one.due_at,
            argsrepr=f"{one.event_type} {one.delivery_id} attempt {one.attempt}",
            headers=_HEADERS,
        )
        for one in due
    ]
    return (to or queues()).publish(messages) if messages else 0


def publish_briefly(due: Sequence[Due]) -> int:
    """The same for those whom others wait for: a server that hangs must not hold them up."""
    return publish(due, queues(BRIEF_S))


def publish_or_leave(
    due: Sequence[Due],
    part: str,
    send: Callable[[Sequence[Due]], object] = publish_briefly,
    silence: Silence = _silence,
) -> bool:
    """Queues the attempts; with the broker away they are left to reconciliation, which finds them in PostgreSQL.

    False: they are left, and an error of this part of us is counted.
    """
    if not due:  # the broker is not asked, so nobody knows whether it is there
        return True
    try:
        if silence.lasts:
            raise redis.TimeoutError("it did not answer a moment ago")
        send(due)
    except BrokerUnavailable as error:
        if isinstance(error, redis.TimeoutError) and not silence.lasts:
            silence.begins()
        broker_failed(part)
        _left.met(error)
        return False
    _left.over()
    return True


def postpone(queue: str, message_id: str, until: float, of: FairQueues | None = None) -> None:
    """Gives a leased message back, to come again at `until` (Unix seconds); its acknowledgement is then void."""
    (of or queues()).postpone(queue, message_id, until)


def missing(partner_id: str, due: Sequence[Due], of: FairQueues | None = None) -> list[Due]:
    """Those that the broker does not hold: neither queued, nor delayed, nor leased."""
    unknown = set((of or queues()).missing(queue_of(partner_id), [one.message_id for one in due]))
    return [one for one in due if one.message_id in unknown]


def leased_by(due: Due) -> str | None:
    """Who is making the attempt, whichever of its messages was first; None: nobody. Raises redis.RedisError."""
    queue = queue_of(due.partner_id)
    return next(filter(None, (queues().leased_by(queue, message_id) for message_id in due.message_ids)), None)
