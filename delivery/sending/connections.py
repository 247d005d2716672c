"""The connections of the reference sender, with our sockets and our streams; they are kept for a while."""

import http.client
import time
from typing import Any

import urllib3.exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from delivery.outcomes import ErrorClass
from delivery.sending.failures import caused
from delivery.sending.sockets import DeadlineSocket, connect, current
from delivery.sending.streams import ChunkStream, HeadStream

_WITHOUT_BODY = frozenset({204, 304})


class _Response(http.client.HTTPResponse):
    """Reads head and chunks through delivery.sending.streams, which is stricter than http.client."""

    def begin(self) -> None:
        answer = current.exchange.answer
        stream: Any = self.fp
        self.fp: Any = HeadStream(stream, answer)
        try:
            super().begin()
        finally:
            if self.fp is not None:  # None: there is no body, and the stream is closed
                self.fp = stream
        if "transfer-encoding" in answer.headers:  # http.client overlooks one that is folded
            self.chunked = False
            if self.status not in _WITHOUT_BODY:
                self.length = None
                self.fp = ChunkStream(stream, answer)

    def _read_status(self) -> tuple[str, int, str]:
        """Skips all interim answers: http.client skips only 100, and takes 103 for the final answer."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc] # not in typeshed
            if not 102 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Connection(HTTPConnection):
    """Counts as disconnected when it is too old or was idle for too long, so that it is not used again."""

    response_class = _Response
    made_at = 0.0
    used_at = 0.0

    def _new_conn(self) -> DeadlineSocket:
        exchange = current.exchange
        exchange.is_connected, exchange.is_ready = True, False
        connection = connect(exchange)
        self.made_at = self.used_at = time.monotonic()
        return connection

    def connect(self) -> None:
        super().connect()
        current.exchange.is_ready = True

    @property
    def is_connected(self) -> bool:
        return super().is_connected and self._may_be_used()

    def _may_be_used(self) -> bool:
        keep, now = current.exchange.keep, time.monotonic()
        fresh_enough = now - self.made_at < keep.age_s and now - self.used_at < keep.idle_s
        self.used_at = now
        return fresh_enough


class _TLSConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError:
            raise caused(ErrorClass.CONNECT_TIMEOUT, "in the TLS handshake") from None
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            raise caused(ErrorClass.TLS, str(error)) from error


class Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
