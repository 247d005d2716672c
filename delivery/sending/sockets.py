"""Sockets with one deadline for a whole exchange, connected to permitted addresses only.

A timeout for each read, as in `requests`, never stops an endpoint that sends one byte a second. Before each call these
sockets set their timeout to the time that is left of the calling thread's exchange, and they count its bytes. An
exchange belongs to one thread.
"""

import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from delivery.outcomes import HEAD_MAX_BYTES, READ_MAX_BYTES, ErrorClass
from delivery.sending.answers import Answer
from delivery.sending.failures import Failure, caused, without_socket
from delivery.sending.request import Keep
from partners.addresses import Address

RAW_MAX_BYTES = HEAD_MAX_BYTES + READ_MAX_BYTES + 512 * 1024
"""The limit of an answer's bytes, with ample room for the framing of chunks."""


class Exchange:
    """What the sockets know of one request and its answer."""

    def __init__(
        self,
        answer: Answer,
        *,
        connect_deadline: float,
        deadline: float,
        locate: Callable[[float], tuple[Address, ...]],
        port: int,
        keep: Keep,
    ) -> None:
        self.answer = answer
        self.connect_deadline = connect_deadline
        self.deadline = deadline
        self.locate = locate
        """Called with the seconds that are left; returns the permitted addresses or raises Failure."""
        self.port = port
        self.keep = keep
        self.is_connected = False
        """Whether this exchange made its connection; False if it uses a kept one."""
        self.is_ready = True
        """False from the start of connecting until the end of the TLS handshake."""
        self._raw_bytes = 0

    def seconds_left(self) -> float:
        """The time until the deadline: that of connecting until the connection is ready. Raises TimeoutError."""
        deadline = self.deadline if self.is_ready else min(self.deadline, self.connect_deadline)
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def count(self, received: int) -> int:
        self._raw_bytes += received
        if self._raw_bytes > RAW_MAX_BYTES:
            raise Failure(ErrorClass.INVALID, "the answer has more framing than content")
        return received


class _Current(threading.local):
    exchange: Exchange


current = _Current()


class DeadlineSocket(socket.socket):
    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        exchange = current.exchange
        self.settimeout(exchange.seconds_left())
        received = super().recv(bufsize, flags)
        exchange.count(len(received))
        return received

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        exchange = current.exchange
        self.settimeout(exchange.seconds_left())
        return exchange.count(super().recv_into(buffer, nbytes, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.settimeout(current.exchange.seconds_left())
        super().sendall(data, flags)


def connect(exchange: Exchange) -> DeadlineSocket:
    """Connects to the first permitted address that answers; each gets a share of the time. Raises Failure."""
    addresses = exchange.locate(exchange.connect_deadline - time.monotonic())
    failure = caused(ErrorClass.CONNECT_TIMEOUT, "looking up the name took all the time")
    for tried, address in enumerate(addresses):
        try:
            share_s = exchange.seconds_left() / (len(addresses) - tried)
            return _connect_to(address, exchange.port, share_s)
        except TimeoutError:
            failure = caused(ErrorClass.CONNECT_TIMEOUT, str(address))
        except OSError as error:
            failure = caused(ErrorClass.REFUSED, f"{address}: {_reason(error)}")
    raise failure


def _connect_to(address: Address, port: int, timeout_s: float) -> DeadlineSocket:
    try:
        connection = DeadlineSocket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        raise without_socket(error) from error
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(timeout_s)
        connection.connect((str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "") or str(error)
