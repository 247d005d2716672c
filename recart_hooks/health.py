"""`/healthz`: this process answers. `/readyz`: PostgreSQL, Valkey and NATS answer too, or which of them does not."""

import contextlib
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, JsonResponse

from delivery import publish
from partners.connections import BoundedConnection

_TIMEOUT_S = 2.0


def healthz(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when events can be stored and queued, 503 otherwise; the body says which server is away."""
    parts = {name: check() for name, check in CHECKS.items()}
    ready = all(state == "ok" for state in parts.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", **parts}, status=200 if ready else 503)


def _postgresql() -> str:
    """Connects anew: an answer is needed soon, also from a server that has vanished."""
    try:
        with BoundedConnection.connect(**{**connection.get_connection_params(), "connect_timeout": 2}) as own:
            own.longest_wait_s = _TIMEOUT_S
            read_only = own.execute("SELECT current_setting('transaction_read_only')").fetchone()
            return "read-only" if read_only == ("on",) else "ok"
    except psycopg.Error as error:
        return _words(error)


def _valkey() -> str:
    try:
        publish.queues(publish.BRIEF_S).check()
    except (redis.RedisError, OSError) as error:
        return _words(error)
    return "ok"


def _nats() -> str:
    """ "ok" if one of the servers answers. Otherwise what is wrong with the first."""
    wrong = ""
    for url in settings.NATS_URL.split(","):
        answer = _nats_server(url.strip())
        if answer == "ok":
            return answer
        wrong = wrong or answer
    return wrong


def _nats_server(url: str) -> str:
    """A NATS server greets each connection with INFO."""
    try:
        address = urlsplit(url)
        with contextlib.closing(
            socket.create_connection((address.hostname or "localhost", address.port or 4222), _TIMEOUT_S)
        ) as greeting:
            greeting.settimeout(_TIMEOUT_S)
            return "ok" if greeting.recv(4) == b"INFO" else "not a NATS server"
    except (OSError, ValueError) as error:
        return _words(error)


def _words(error: Exception) -> str:
    """The first line of the error's message, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


CHECKS: dict[str, Callable[[], str]] = {"postgresql": _postgresql, "valkey": _valkey, "nats": _nats}
