# mypy: disable-error-code="no-untyped-call, misc, union-attr"
"""The transports `fair://`, `fairs://` (TLS) and `fairsentinel://`."""

import itertools
from typing import TYPE_CHECKING, Any

import redis
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as stock
from redis.connection import parse_url

from delivery.broker.channel import (
    CONNECT_TIMEOUT_S,
    SOCKET_TIMEOUT_S,
    FairChannel,
    SentinelChannel,
    TlsChannel,
    asks_once,
)
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

    def __init__(self, client: Any, **kwargs: Any) -> None:
        """Lets kombu stay with the first address: a channel asks all Sentinels, and the others have no credentials.
        A consumer that connects by another address would also not continue with its leases."""
        if client.alt:
            client.cycle = itertools.repeat(client.alt[0])
        super().__init__(client, **kwargs)


def register(app: "Celery | None" = None) -> None:
    """Registers `fair://`, `fairs://` and `fairsentinel://` with kombu, and the bootstep with `app`."""
    for alias, transport in (("fair", Transport), ("fairs", TlsTransport), ("fairsentinel", SentinelTransport)):
        TRANSPORT_ALIASES[alias] = f"{__name__}:{transport.__name__}"
    if app is not None:
        app.steps["consumer"].add("delivery.broker.steps:FairStep")


def connect(url: str, master_name: str = "", **options: Any) -> redis.Redis:
    """A client for such an address, with timeouts. It connects when it is first used.

    `master_name` is the name that the Sentinels of a `fairsentinel://` address know the primary by. As in Celery, the
    first of several addresses has the database and the credentials. Raises ValueError.
    """
    scheme, _, rest = url.partition("://")
    options = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 10,
        **options,
    }
    if scheme == "fairsentinel":
        return _primary(url.split(";"), master_name, options)
    return redis.Redis.from_url(f"{_PLAIN.get(scheme, scheme)}://{rest}", **options)


def _primary(urls: list[str], master_name: str, options: dict[str, Any]) -> redis.Redis:
    """A client for the primary that the Sentinels name; each new connection asks them again."""
    if not master_name:
        raise ValueError("a fairsentinel:// address needs the name of its primary")
    addresses = [parse_url(f"redis://{url.partition('://')[2]}") for url in urls]
    sentinels = [(one.get("host", "localhost"), one.get("port", SentinelTransport.default_port)) for one in addresses]
    server = {name: value for name, value in addresses[0].items() if name not in ("host", "port")}
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
    asked = redis.Sentinel(sentinels, sentinel_kwargs=asks_once(**timeouts), **server, **options)
    primary: redis.Redis = asked.master_for(master_name)
    return primary
