"""`manage.py bridge`: takes events from NATS JetStream until it gets SIGTERM or Ctrl-C."""

import asyncio
import logging
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from delivery import publish
from delivery.bridge import Bridge
from delivery.catalogue import Catalogue, listener_for
from delivery.garbage import tune_collector
from delivery.metrics.intake import BridgeMetrics
from delivery.metrics.process import REGISTRY
from delivery.metrics.server import serve_process
from delivery.routes import SubscriptionRouter
from delivery.sources.lag import read_lag
from delivery.sources.nats import NatsSource
from delivery.tracing import traced

logger = logging.getLogger("delivery.bridge")


class Command(BaseCommand):
    help = "Takes events from NATS JetStream, stores them and queues their deliveries."

    def handle(self, *args: Any, **options: Any) -> None:
        router, catalogue = SubscriptionRouter(), Catalogue()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # until `_run` handles it
        listener = listener_for(router, catalogue)
        listener.start()
        listener.connected.wait()  # do not route events before the routes are loaded
        url, stream, consumer = settings.NATS_URL, settings.NATS_STREAM, settings.NATS_CONSUMER
        kept_s = settings.NATS_STREAM_KEPT_DAYS * 24 * 3600.0
        source = NatsSource(url, stream, settings.NATS_SUBJECTS, consumer, kept_s=kept_s)
        send = traced("publish", publish.publish_briefly)
        hears = listener.connected.is_set
        bridge = Bridge(source, router, catalogue, settings.EVENT_MAX_BYTES, settings.BRIDGE_BATCH_SIZE, send, hears)
        REGISTRY.register(BridgeMetrics(bridge.counts, lambda: read_lag(url, stream, consumer)))
        serve_process("bridge")
        tune_collector()
        try:
            asyncio.run(_run(bridge))
        finally:
            listener.stop()
        logger.info("stopped", extra={"events": bridge.counts.events, "deliveries": bridge.counts.deliveries})


async def _run(bridge: Bridge) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, bridge.stop)
    logger.info("ready", extra={"nats": settings.NATS_URL.rpartition("@")[2], "stream": settings.NATS_STREAM})
    await bridge.run()
