"""Each process' own port for Prometheus.

The base port is the setting METRICS_PORT; a process that finds it taken tries the next ones, so that several processes
of one machine have neighbouring ports. 0 turns it off. A process that finds none goes on without: metrics never stop
deliveries.
"""

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from wsgiref.simple_server import WSGIServer

from django.conf import settings
from prometheus_client import CollectorRegistry, start_http_server

from delivery.metrics.process import REGISTRY, says_what_it_is

logger = logging.getLogger(__name__)

PORTS_TRIED = 64


@dataclass(frozen=True, slots=True)
class MetricsServer:
    port: int
    _stop: Callable[[], None]

    def stop(self) -> None:
        self._stop()


def serve_process(process: str) -> MetricsServer | None:
    """Serves this process' registry as the settings say. `process` is what it is: worker, bridge, web."""
    if not settings.METRICS_PORT:
        return None
    says_what_it_is(process, settings.VERSION)
    server = serve(REGISTRY, settings.METRICS_ADDRESS, settings.METRICS_PORT)
    if server is not None:
        logger.info("metrics", extra={"address": f"http://{settings.METRICS_ADDRESS}:{server.port}/metrics"})
    return server


def serve(registry: CollectorRegistry, address: str, base_port: int) -> MetricsServer | None:
    """On the first free port from `base_port`; None when none of them is free, or the address is not ours."""
    for port in range(base_port, min(base_port + PORTS_TRIED, 65_536)):
        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            logger.warning("no metrics", extra={"error": str(error), "address": address})
            return None
        return MetricsServer(port, lambda server=server, thread=thread: _stop(server, thread))  # type: ignore[misc]
    logger.warning("no metrics", extra={"error": f"no free port from {base_port}", "address": address})
    return None


def _stop(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)
