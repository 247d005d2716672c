"""What a worker process holds for its tasks: the loader, the recorder, the sender, and the listener for changes.

Made on first use in a process, so that a process that only publishes never opens any of it.
"""

import atexit
import os
import threading
from collections.abc import Sequence

from django.conf import settings

from delivery import publish
from delivery.batching import Batcher
from delivery.breaker import Breaker
from delivery.breaker_store import SharedBreakers
from delivery.database import OwnConnection
from delivery.deliver import Tools, worker_name
from delivery.due import Due
from delivery.endpoints import EndpointCache
from delivery.flower_feed import flower_feed
from delivery.jobs import Job, JobLoader
from delivery.limits import LimitKeeper
from delivery.metrics import process
from delivery.metrics.attempts import attempt_metrics
from delivery.passing import is_passing
from delivery.recorder import AttemptRecord, Recorder
from delivery.rollups import Rollups
from delivery.sending import Sender, make_sender
from delivery.tracing import attempt_trace
from delivery.turns import offload
from partners.changes import Change, ChangeListener
from partners.validation import endpoint_policy

LARGEST_BATCH = 200
RECORDER_LINGER_S = 0.002


class Worker:
    """Everything the tasks of this process share. Starts its threads at once."""

    def __init__(self) -> None:
        endpoints = EndpointCache()
        limits = LimitKeeper()
        load = JobLoader(endpoints, OwnConnection())

        def take_over(change: Change) -> None:
            endpoints.forget(change)
            limits.take_over(change)

        self.listener = ChangeListener(take_over)
        self.loader: Batcher[str, Job | None] = Batcher(
            "loader", process.timed("loader", load), is_passing, LARGEST_BATCH
        )
        self.rollups = Rollups()
        metrics, flower = attempt_metrics(), flower_feed()

        def observe(records: Sequence[AttemptRecord]) -> None:
            self.rollups.add(records)
            metrics.add(records)
            flower.add(records)

        self.recorder: Batcher[AttemptRecord, bool] = Batcher(
            "recorder",
            process.timed("recorder", Recorder(observe, OwnConnection())),
            is_passing,
            LARGEST_BATCH,
            linger_s=RECORDER_LINGER_S,
        )
        self.publisher: Batcher[Due, int] = Batcher("publisher", _publish, lambda _: False, LARGEST_BATCH)
        self.sender = configured_sender()
        self.tools = Tools(
            load=self.loader.submit,
            breaker=Breaker(SharedBreakers()),
            send=self.sender.send,
            record=self.recorder.submit,
            user_agent=f"Recart-Hooks/{settings.VERSION}",
            connect_timeout_s=settings.DELIVERY_CONNECT_TIMEOUT_S,
            retry_after_cap_s=settings.RETRY_AFTER_CAP_S,
            worker=worker_name(os.getpid()),
            trace=attempt_trace(),
        )
        self.listener.start()
        self.rollups.start()
        atexit.register(self.rollups.stop)


def _publish(due: Sequence[Due]) -> list[int]:
    return [offload(publish.publish, due)] * len(due)


def configured_sender() -> Sender:
    return make_sender(settings.DELIVERY_SENDER, endpoint_policy(), ca_file=settings.ENDPOINT_CA_FILE or None)


_lock = threading.Lock()
_worker: Worker | None = None


def worker() -> Worker:
    """This process' one."""
    global _worker  # noqa: PLW0603 - one per process is what it is
    if _worker is None:
        with _lock:
            if _worker is None:
                _worker = Worker()
    return _worker
