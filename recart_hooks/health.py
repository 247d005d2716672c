"""`/healthz`: this process answers. `/readyz`: PostgreSQL, Valkey and NATS answer too, or which of them does not."""

import contextlib
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse

from delivery import publish

_TIMEOUT_S = 2.0


def healthz(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when events can be stored and queued, 503 otherwise; the body says which server is away."""
    parts = {name: check() for name, check in CHECKS.items()}
    ready = all(state == "ok" for state in parts.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", **parts}, status=200 if ready else 503)


def _postgresql() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')")
            return "read-only" if cursor.fetchone() == ("on",) else "ok"
    except Error as error:
        connection.close()
        return _words(error)


def _valkey() -> str:
    try:
        publish.queues().check()
    except (redis.RedisError, OSError) as error:
        return _words(error)
    return "ok"


def _nats() -> str:
    """A NATS server greets each connection with INFO."""
    address = urlsplit(settings.NATS_URL.partition(",")[0])
    try:
        with contextlib.closing(
            socket.create_connection((address.hostname or "localhost", address.port or 4222), _TIMEOUT_S)
        ) as greeting:
            greeting.settimeout(_TIMEOUT_S)
            return "ok" if greeting.recv(4) == b"INFO" else "not a NATS server"
    except OSError as error:
        return _words(error)


def _words(error: Exception) -> str:
    """The first line of the error's message, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


CHECKS: dict[str, Callable[[], str]] = {"postgresql": _postgresql, "valkey": _valkey, "nats": _nats}
