# mypy: disable-error-code="no-untyped-call, misc, union-attr"
"""The transports `fair://`, `fairs://` (TLS) and `fairsentinel://`."""

from typing import TYPE_CHECKING, Any

import redis
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as stock

from delivery.broker.channel import CONNECT_TIMEOUT_S, SOCKET_TIMEOUT_S, FairChannel, SentinelChannel, TlsChannel
from delivery.broker.poller import FairPoller

if TYPE_CHECKING:
    from celery import Celery

_PLAIN = {"fair": "redis", "fairs": "rediss"}


class Transport(stock.Transport):
    Channel = FairChannel
    driver_name = "fair"
    # A server that refuses a command (its disk is full, it is a replica now) may accept it later. Kombu would take this
    # for a programming error and end the worker.
    connection_errors = (*stock.Transport.connection_errors, redis.exceptions.ResponseError)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = FairPoller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        self.cycle.hub = loop
        super().register_with_event_loop(connection, loop)


class TlsTransport(Transport):
    Channel = TlsChannel


class SentinelTransport(Transport):
    Channel = SentinelChannel
    default_port = stock.SentinelTransport.default_port


def register(app: "Celery | None" = None) -> None:
    """Registers `fair://`, `fairs://` and `fairsentinel://` with kombu, and the bootstep with `app`."""
    for alias, transport in (("fair", Transport), ("fairs", TlsTransport), ("fairsentinel", SentinelTransport)):
        TRANSPORT_ALIASES[alias] = f"{__name__}:{transport.__name__}"
    if app is not None:
        app.steps["consumer"].add("delivery.broker.steps:FairStep")


def connect(url: str, **options: Any) -> redis.Redis:
    """A client for a `fair://` or `fairs://` address, with timeouts. It connects when it is first used."""
    scheme, _, rest = url.partition("://")
    defaults = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 10,
    }
    return redis.Redis.from_url(f"{_PLAIN.get(scheme, scheme)}://{rest}", **{**defaults, **options})
