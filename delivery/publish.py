"""Puts attempts and fan-outs into the partners' queues: the one place that names these queues and publishes their
tasks.

The broker drops a message that it already holds (same delivery, same attempt), so publishing twice is harmless.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import redis
from django.conf import settings

from delivery.broker import FairMessage, FairQueues, connect
from delivery.broker.naming import PREFIX, Naming
from delivery.due import Due, Queued
from delivery.metrics.process import broker_failed
from delivery.passing import Silence
from partners.trouble import Trouble

TASK = "delivery.deliver"
EVERY_PARTNER = Naming().every
"""The name under which workers consume all partners' queues."""
MAINTENANCE = "maintenance"
"""The queue of periodic tasks, which is an ordinary one."""
VERSION = 2
"""The newest version of task messages that this release reads. 1: the arguments are a delivery's id and an attempt's
number. 2: also the id of a fan-out alone. Raise it when old workers would misread new messages. A worker parks messages
that are newer than itself, and must still read those of the version before, so that workers can be replaced one by one.
Never change the task's name: a worker drops unknown tasks.
"""
_OF_DELIVERIES = {"message_version": 1}
_OF_FAN_OUTS = {"message_version": 2}

BrokerUnavailable = redis.RedisError
"""Raised when Valkey cannot be reached; the deliveries stay in PostgreSQL and are queued later."""

BRIEF_S = 1.0
"""The timeout where a caller does not need Valkey's answer, or only shows it."""
_silence = Silence()
_left = Trouble(logging.getLogger(__name__), "deliveries are queued later")


def queue_of(partner_id: str) -> str:
    return PREFIX + partner_id


@lru_cache(maxsize=2)
def queues(timeout_s: float | None = None) -> FairQueues:
    """The broker's queues; the process shares one object for each timeout."""
    return FairQueues(valkey(timeout_s))


def valkey(timeout_s: float | None = None) -> redis.Redis:
    """A client of its own for the broker's server."""
    timeouts = {} if timeout_s is None else {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return connect(settings.BROKER_URL, settings.BROKER_MASTER_NAME, **timeouts)


def publish(due: Iterable[Queued], to: FairQueues | None = None) -> int:
    """Queues these in one or two round trips; returns how many the broker did not know yet."""
    messages = [_message(one) for one in due]
    return (to or queues()).publish(messages) if messages else 0


def _message(one: Queued) -> FairMessage:
    queue, id_ = queue_of(one.partner_id), one.message_id
    if isinstance(one, Due):
        text = shown(one.event_type, one.delivery_id, one.attempt)
        return FairMessage(queue, id_, TASK, (one.delivery_id, one.attempt), {}, one.due_at, text, _OF_DELIVERIES)
    text = f"{one.event_type} {one.fan_out_id}"
    return FairMessage(queue, id_, TASK, (one.fan_out_id,), argsrepr=text, headers=_OF_FAN_OUTS)


def shown(event_type: str, delivery_id: str, attempt: int) -> str:
    """What logs, events and task results show as a delivery task's arguments."""
    return f"{event_type} {delivery_id} attempt {attempt}"


def publish_briefly(due: Sequence[Queued]) -> int:
    """The same with a short timeout, for callers that a hanging server must not delay."""
    return publish(due, queues(BRIEF_S))


def publish_first(due: Sequence[Queued]) -> int:
    """The same, at the heads of the partners' queues: for what somebody waits for, or must hear of soon."""
    return queues(BRIEF_S).publish([replace(_message(one), is_first=True) for one in due])


def publish_or_leave(
    due: Sequence[Queued],
    part: str,
    send: Callable[[Sequence[Queued]], object] = publish_briefly,
    silence: Silence = _silence,
) -> bool:
    """Queues these. Returns False if the broker is away: reconciliation finds them in PostgreSQL later.

    `part` is the label under which the error is counted.
    """
    if not due:  # nothing is sent to the broker, so whether it is away is unknown
        return True
    try:
        if silence.lasts:
            raise redis.TimeoutError("Valkey did not answer a moment ago")
        send(due)
    except BrokerUnavailable as error:
        if isinstance(error, redis.TimeoutError) and not silence.lasts:
            silence.begins()
        broker_failed(part)
        _left.met(error)
        return False
    _left.over()
    return True


def postpone(queue: str, message_id: str, until: float) -> None:
    """Puts a leased message back into its queue, due at `until` (Unix seconds). Its acknowledgement then has no
    effect."""
    queues().postpone(queue, message_id, until)


def missing(partner_id: str, due: Sequence[Queued], of: FairQueues | None = None) -> list[Queued]:
    """Those whose messages the broker does not hold: neither queued, nor delayed, nor leased."""
    unknown = set((of or queues()).missing(queue_of(partner_id), [one.message_id for one in due]))
    return [one for one in due if one.message_id in unknown]


def leased_by(due: Due) -> str | None:
    """The worker that has one of the attempt's messages; None if no worker has. Raises redis.RedisError."""
    queue = queue_of(due.partner_id)
    of = queues(BRIEF_S)
    return next(filter(None, (of.leased_by(queue, message_id) for message_id in due.message_ids)), None)
