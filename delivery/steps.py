"""What our Celery workers start besides Celery's own parts. Added to the application in recart_hooks.celery."""

import logging
from typing import Any

from celery import Celery, bootsteps
from celery.fixups.django import DjangoFixup
from celery.signals import task_postrun, task_prerun

from delivery.flower_feed import flower_feed
from delivery.garbage import spare_what_stays
from delivery.metrics import server
from delivery.metrics.process import broker_connected
from delivery.worker import worker

logger = logging.getLogger(__name__)

LIMITS_WAIT_S = 10.0


class MetricsStep(bootsteps.StartStopStep):
    """The worker's port for Prometheus."""

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
    """Makes the loader, the recorder and the listener before the first task comes, and has the limits written: a worker
    that consumed first would serve a wiped broker's queues without them."""

    requires = ("celery.worker.components:Timer",)

    def start(self, parent: Any) -> None:
        without_connection_care(parent.app)
        made = worker()
        spare_what_stays()
        if not made.listener.connected.wait(LIMITS_WAIT_S):
            logger.warning("starting although PostgreSQL is away", extra={"waited_s": LIMITS_WAIT_S})


def without_connection_care(app: Celery) -> None:
    """Celery looks after Django's connections before and after each task, which is 50 µs. Deliveries use none in their
    thread, and maintenance tasks do it themselves."""
    for fixup in app._fixups:  # type: ignore[attr-defined]  # there is no other way to it
        if isinstance(fixup, DjangoFixup):
            task_prerun.disconnect(fixup.worker_fixup.on_task_prerun)
            task_postrun.disconnect(fixup.worker_fixup.on_task_postrun)


class ConnectionStep(bootsteps.StartStopStep):
    """Counts connections to the broker: Celery starts its consumer anew after each loss."""

    requires = ("celery.worker.consumer:Connection",)

    def start(self, parent: Any) -> None:
        broker_connected()


class FlowerStep(bootsteps.StartStopStep):
    """Tells Flower of recorded attempts, through the dispatcher that this connection has."""

    requires = ("celery.worker.consumer.events:Events",)

    def start(self, parent: Any) -> None:
        flower_feed().follow(parent.event_dispatcher)
