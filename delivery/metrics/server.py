"""Serves the metrics of a process at a port of its own.

A process takes the first free port from the setting METRICS_PORT on, so processes of one machine get adjacent ports. 0
turns this off. A process that finds no free port runs without: metrics never stop deliveries.
"""

import errno
import logging
from dataclasses import dataclass
from threading import Thread
from wsgiref.simple_server import WSGIServer

from django.conf import settings
from prometheus_client import CollectorRegistry, start_http_server

from delivery.metrics.process import REGISTRY, set_build_info

logger = logging.getLogger(__name__)

PORTS_TRIED = 64


@dataclass(frozen=True, slots=True)
class MetricsServer:
    port: int
    _server: WSGIServer
    _thread: Thread

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def serve_process(process: str) -> MetricsServer | None:
    """Serves this process' registry as configured. `process` is its kind: worker, bridge or web."""
    if not settings.METRICS_PORT:
        return None
    set_build_info(process, settings.VERSION)
    server = serve(REGISTRY, settings.METRICS_ADDRESS, settings.METRICS_PORT)
    if server is not None:
        logger.info("serving metrics", extra={"address": f"http://{settings.METRICS_ADDRESS}:{server.port}/metrics"})
    return server


def serve(registry: CollectorRegistry, address: str, base_port: int) -> MetricsServer | None:
    """Listens on the first free port from `base_port` on. None if there is none, or the address is not ours."""
    for port in range(base_port, min(base_port + PORTS_TRIED, 65_536)):
        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            logger.warning("no metrics", extra={"error": str(error), "address": address})
            return None
        return MetricsServer(port, server, thread)
    logger.warning("no metrics", extra={"error": f"no free port from {base_port}", "address": address})
    return None
