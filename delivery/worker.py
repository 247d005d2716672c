"""What the tasks of a worker process share: the tools of an attempt, the pipeline, and the change listener.

Created on first use, so a process that only publishes opens none of it.
"""

import atexit
import logging
import os
import threading
from collections.abc import Sequence
from functools import partial

from django.conf import settings

from delivery import limits, publish
from delivery.breaker import Breaker
from delivery.breaker_store import SharedBreakers
from delivery.database import OwnConnection, in_database, with_living_connection
from delivery.deliver import Tools, worker_name
from delivery.due import Due
from delivery.endpoints import EndpointCache
from delivery.errors import Postponed
from delivery.flower_feed import flower_feed
from delivery.jobs import Job, JobLoader
from delivery.limits import Restraint
from delivery.metrics import process
from delivery.metrics.attempts import attempt_metrics
from delivery.metrics.process import broker_failed
from delivery.passing import is_away
from delivery.pipeline import Pipeline
from delivery.prepare import USER_AGENT
from delivery.quarantine import Quarantine
from delivery.recorder import AttemptRecord, Recorder, disable_gone
from delivery.results import store_dead
from delivery.rollups import Rollups
from delivery.senders import configured_sender
from delivery.stages import Stages
from delivery.tracing import attempt_trace
from delivery.turns import Turns
from delivery.waits import offload, rest
from partners.changes import Change, ChangeListener
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

_LOCK_WAIT_MS = 100
"""Short, because other deliveries wait for the threads of delivery.database."""
_restraint = Restraint(partial(in_database, limits.hold_back))
_not_put_off = Trouble(logger, "messages cannot be put back for later")
_not_held_back = Trouble(logger, "partners' queues cannot be held back")


class Worker:
    """The objects that the tasks of this process share. Starts its threads when it is created."""

    def __init__(self) -> None:
        def take_over(changes: Sequence[Change]) -> None:
            self._endpoints.forget(changes)
            limits.take_over(changes)

        self.listener = ChangeListener(take_over)
        self._endpoints = EndpointCache(self.listener.connected.is_set)
        self.rollups = Rollups()
        metrics, flower = attempt_metrics(), flower_feed()

        def observe(records: Sequence[AttemptRecord]) -> None:
            self.rollups.add(records)
            metrics.add(records)
            flower.add(records)

        self._observe = observe
        quarantine = Quarantine()
        self.sender = configured_sender(quarantine.add)
        self.tools = Tools(
            load=with_living_connection(self._load_one),
            breaker=Breaker(SharedBreakers()),
            quarantine=quarantine,
            send=self.sender.send,
            record=with_living_connection(self._record_one),
            user_agent=USER_AGENT,
            connect_timeout_s=settings.DELIVERY_CONNECT_TIMEOUT_S,
            retry_after_cap_s=settings.RETRY_AFTER_CAP_S,
            worker=worker_name(os.getpid()),
            trace=attempt_trace(),
            rest=rest,
        )
        self.listener.start()
        self.rollups.start()
        atexit.register(self.rollups.stop)

    def pipeline(self, turns: Turns) -> Pipeline:
        """A pipeline that runs in the thread of `turns`."""
        stages = Stages(
            load=process.timed("loader", JobLoader(self._endpoints, OwnConnection())),
            send=lambda request, then: self.sender.begin(request, turns, then),
            record=process.timed("recorder", Recorder(self._observe, OwnConnection())),
            disable=lambda records: in_database(disable_gone, records, _LOCK_WAIT_MS),
            store_dead=store_dead,
            publish=lambda due: offload(queue_retries, due),
            hold_back=hold_back,
        )
        return Pipeline(turns, stages, self.tools)

    def _load_one(self, delivery_id: str) -> Job | None:
        return JobLoader(self._endpoints)([delivery_id])[0]

    def _record_one(self, record: AttemptRecord) -> None:
        Recorder(self._observe)([record])
        disable_gone([record])


def queue_retries(due: Sequence[Due]) -> None:
    """Queues attempts; while the broker is away, leaves them to reconciliation."""
    publish.publish_or_leave(due, "retry")


def put_off(queue: str, message_id: str, until: float) -> None:
    """Puts the message of a task that Celery is running back into its queue, due at `until`."""
    try:
        publish.postpone(queue, message_id, until)
    except publish.BrokerUnavailable as error:
        broker_failed("postpone")
        _not_put_off.met(error)
    else:
        _not_put_off.over()


def hold_back(postponed: Sequence[Postponed]) -> None:
    """Pauses queues from which only messages to be postponed would come (delivery.limits.hold_back)."""
    try:
        _restraint(postponed)
    except Exception as error:
        if not is_away(error):
            raise
        _not_held_back.met(error)
    else:
        _not_held_back.over()


_lock = threading.Lock()
_worker: Worker | None = None


def worker() -> Worker:
    """The process' Worker."""
    global _worker  # noqa: PLW0603 - there is one per process
    if _worker is None:
        with _lock:
            if _worker is None:
                _worker = Worker()
    return _worker
