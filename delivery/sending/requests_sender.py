"""The reference sender: `requests`, on our own sockets and with our own parser.

`requests` provides pooling, TLS and HTTP. Its session is not used, because a session applies proxies and passwords from
the environment, cookies and redirects.
"""

import http.client
import logging
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.util import SKIP_HEADER

from delivery.outcomes import ErrorClass, Outcome, failed
from delivery.sending.answers import Answer
from delivery.sending.attempt import Attempt
from delivery.sending.connections import Pool, TLSPool
from delivery.sending.failures import Failure, caused
from delivery.sending.request import (
    DEFAULT_KEEP,
    LONGEST_TIMEOUT_S,
    Keep,
    Request,
    Then,
    locate,
    read_endpoint,
    request_headers,
)
from delivery.sending.resolving import Resolver, SystemResolver
from delivery.sending.sockets import Exchange, current
from delivery.sending.tls import client_context
from delivery.turns import Turns
from delivery.waits import offload
from partners.addresses import AddressPolicy
from partners.endpoints import EndpointURL

_PIECE_BYTES = 16 * 1024
_CONNECTIONS_PER_ENDPOINT = 32

# The attempt records what endpoints do. urllib3 would also log a warning for each of their odd headers.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class RequestsSender:
    """See delivery.sending.request.Sender."""

    def __init__(
        self, policy: AddressPolicy, resolve: Resolver | None = None, ca_file: str = "", keep: Keep = DEFAULT_KEEP
    ) -> None:
        self._policy = policy
        self._resolve = resolve or SystemResolver()
        self._keep = keep
        self._adapter = _Adapter(client_context(ca_file), keep)

    def send(self, request: Request) -> Outcome:
        attempt = Attempt()
        return attempt.ends(lambda: self._exchange(request, attempt.answer, attempt.started))

    def begin(self, request: Request, turns: Turns, then: Then) -> None:
        def run() -> None:
            try:
                outcome = offload(self.send, request)
            except Exception as error:  # the helper threads have ended: the process ends
                outcome = failed(ErrorClass.INTERNAL, type(error).__name__)
            then(outcome)

        turns.branch(run)

    def close(self) -> None:
        self._adapter.close()

    def _exchange(self, request: Request, answer: Answer, started: float) -> int:
        endpoint = read_endpoint(request, self._policy)
        prepared = _prepare(request, endpoint)
        while True:
            exchange = Exchange(
                answer,
                connect_deadline=started + request.connect_timeout_s,
                deadline=started + min(request.timeout_s, LONGEST_TIMEOUT_S),
                locate=lambda timeout_s: locate(endpoint, self._policy, self._resolve, timeout_s),
                port=endpoint.port,
                keep=self._keep,
            )
            try:
                return self._adapter.exchange(prepared, exchange)
            except Failure as failure:
                if not _kept_connection_was_closed(failure, exchange):
                    raise


def _kept_connection_was_closed(failure: Failure, exchange: Exchange) -> bool:
    """Whether to send again on another connection. Each such failure removes a kept one, so the last is a new one."""
    return failure.error is ErrorClass.RESET and not exchange.is_connected and not exchange.answer.has_begun


def _prepare(request: Request, endpoint: EndpointURL) -> requests.PreparedRequest:
    """Fills the request without `requests`' own preparation, which would change its URL and headers."""
    prepared = requests.PreparedRequest()
    prepared.method = "POST"
    prepared.url = endpoint.url
    prepared.headers = CaseInsensitiveDict(request_headers(request, endpoint).values())
    prepared.headers.setdefault("User-Agent", SKIP_HEADER)
    prepared.body = request.body
    return prepared


class _Adapter(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext, keep: Keep) -> None:
        self._context = context
        super().__init__(pool_connections=keep.connections, pool_maxsize=_CONNECTIONS_PER_ENDPOINT, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": TLSPool}

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Uses one TLS context for all pools, because reading the authorities takes 10 ms."""
        host, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, ({"ssl_context": self._context} if host["scheme"] == "https" else {})

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the context has the authorities."""

    def exchange(self, prepared: requests.PreparedRequest, exchange: Exchange) -> int:
        """Sends the request and reads the answer; returns the final status. Raises Failure."""
        current.exchange = exchange
        try:
            response = self.send(prepared, stream=True, timeout=None, proxies={})
            try:
                for piece in _pieces(response.raw):
                    exchange.answer.feed_body(piece)
            except BaseException:
                response.raw.close()
                raise
            response.raw.release_conn()
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise _failure(error) from error
        return exchange.answer.check_complete()


def _pieces(raw: Any) -> Iterator[bytes]:
    """The body as it comes. It is not decompressed, because a kilobyte might become a gigabyte."""
    while piece := raw.read1(_PIECE_BYTES, decode_content=False):
        yield piece


def _failure(error: BaseException) -> Failure:
    """The Failure of a library's exception. Libraries wrap exceptions: the innermost one that has a class counts."""
    for one in reversed(_chain(error)):
        found = _classify(one)
        if found is not None:
            return caused(found, f"{type(one).__name__}: {one}"[:300])
    return caused(ErrorClass.INVALID, f"{type(error).__name__}: {error}"[:300])


def _chain(error: BaseException) -> list[BaseException]:
    """The exception with all its causes, contexts and arguments that are exceptions."""
    chain: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        one = pending.pop()
        if isinstance(one, BaseException) and one not in chain:
            chain.append(one)
            pending += [one.__cause__, one.__context__, *one.args]
    return chain


def _classify(error: BaseException) -> ErrorClass | None:
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return ErrorClass.TIMEOUT
    if isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)):
        return ErrorClass.RESET
    if isinstance(error, http.client.HTTPException):
        return ErrorClass.INVALID
    return None
