"""`/metrics`: the state that all processes share (delivery.metrics.shared). Each process serves its own counts on a
port of its own.

The page names every partner, so it is not public: it requires METRICS_TOKEN as a bearer token or, if no token is set,
refuses requests with a header that proxies add. A reading is kept for two seconds, so that many readers cost the
servers no more than one.
"""

import re
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from delivery.metrics.shared import shared_metrics

KEPT_S = 2.0
_ADDED_BY_PROXIES = re.compile(r"Forwarded|Via|X-Real-IP|X-Forwarded-.+", re.IGNORECASE)


class Kept:
    """The last reading, renewed when it is older than `KEPT_S`."""

    def __init__(self, read: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._body = b""
        self._read_at = float("-inf")

    def get(self) -> bytes:
        with self._lock:
            if self._clock() - self._read_at >= KEPT_S:
                self._body = self._read()
                self._read_at = self._clock()
            return self._body


def read() -> bytes:
    registry = CollectorRegistry()
    registry.register(shared_metrics())
    return generate_latest(registry)


_kept = Kept(read)


def metrics(request: HttpRequest) -> HttpResponse:
    if not _may_read(request):
        missing = "a bearer token is needed" if settings.METRICS_TOKEN else "through a proxy, set METRICS_TOKEN"
        return HttpResponse(f"401: {missing}\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    return HttpResponse(_kept.get(), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.headers.get("authorization", "")
        return constant_time_compare(given, f"Bearer {settings.METRICS_TOKEN}")
    return not any(map(_ADDED_BY_PROXIES.fullmatch, request.headers))
