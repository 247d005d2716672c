"""Celery bootsteps of our workers, which recart_hooks.celery adds to the application."""

import logging
from typing import Any

from celery import Celery, bootsteps
from celery.fixups.django import DjangoFixup
from celery.signals import task_postrun, task_prerun

from delivery.flower_feed import flower_feed
from delivery.garbage import tune_collector
from delivery.metrics import server
from delivery.metrics.process import broker_connected
from delivery.worker import worker

logger = logging.getLogger(__name__)

LIMITS_WAIT_S = 10.0


class MetricsStep(bootsteps.StartStopStep):
    """Serves the worker's metrics to Prometheus."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._server: server.MetricsServer | None = None

    def start(self, parent: Any) -> None:
        self._server = server.serve_process("worker")

    def stop(self, parent: Any) -> None:
        if self._server is not None:
            self._server.stop()


class PartsStep(bootsteps.StartStopStep):
    """Creates delivery.worker's Worker before the first task comes, and waits until its listener has written the
    limits: otherwise the queues of a wiped broker would be served without limits."""

    requires = ("celery.worker.components:Timer",)

    def start(self, parent: Any) -> None:
        skip_connection_checks(parent.app)
        made = worker()
        tune_collector()
        if not made.listener.connected.wait(LIMITS_WAIT_S):
            logger.warning("starting although PostgreSQL is away", extra={"waited_s": LIMITS_WAIT_S})


def skip_connection_checks(app: Celery) -> None:
    """Disconnects the handlers by which Celery checks Django's connections before and after each task, for 50 µs.
    Deliveries use no connection in their thread, and maintenance tasks check theirs themselves."""
    for fixup in app._fixups:  # type: ignore[attr-defined]  # Celery has no public way
        if isinstance(fixup, DjangoFixup):
            task_prerun.disconnect(fixup.worker_fixup.on_task_prerun)
            task_postrun.disconnect(fixup.worker_fixup.on_task_postrun)


class ConnectionStep(bootsteps.StartStopStep):
    """Counts connections to the broker: Celery restarts its consumer after each lost connection."""

    requires = ("celery.worker.consumer:Connection",)

    def start(self, parent: Any) -> None:
        broker_connected()


class FlowerStep(bootsteps.StartStopStep):
    """Lets the Flower feed send its events through the event dispatcher of this connection."""

    requires = ("celery.worker.consumer.events:Events",)

    def start(self, parent: Any) -> None:
        flower_feed().follow(parent.event_dispatcher)
