"""The fast sender: libcurl through pycurl, which does its work in C without the GIL.

libcurl keeps the deadline, speaks TLS and HTTP, keeps connections open, and sends a request again by itself if a kept
connection was closed before any byte of an answer came. delivery.sending.answers parses the answer.
"""

import errno
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import pycurl

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import trust
from delivery.sending.answers import Answer
from delivery.sending.attempt import Attempt
from delivery.sending.curl_handles import Handle, Origin
from delivery.sending.exchange import FLOODED, Ended, Exchanges
from delivery.sending.failures import Failure, caused
from delivery.sending.request import (
    DEFAULT_KEEP,
    Keep,
    OnBusy,
    Request,
    Then,
    locate,
    read_endpoint,
    request_headers,
)
from delivery.sending.resolving import Resolver, SystemResolver
from delivery.turns import Turns
from delivery.waits import offload
from partners.addresses import Address, AddressPolicy
from partners.endpoints import EndpointURL

_LOOKUPS = 8
_ORIGINS = 10_000
"""How many origins are remembered. The next exchange with a forgotten one makes a new connection."""
_E_TOO_LARGE = 100  # CURLE_TOO_LARGE: headers beyond libcurl's own bounds; pycurl has no name for it

_CLASSES = {
    pycurl.E_COULDNT_RESOLVE_HOST: ErrorClass.DNS,
    pycurl.E_COULDNT_CONNECT: ErrorClass.REFUSED,
    pycurl.E_SSL_CONNECT_ERROR: ErrorClass.TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: ErrorClass.TLS,
    pycurl.E_SSL_CERTPROBLEM: ErrorClass.TLS,
    pycurl.E_SSL_CIPHER: ErrorClass.TLS,
    pycurl.E_SSL_ISSUER_ERROR: ErrorClass.TLS,
    pycurl.E_SSL_INVALIDCERTSTATUS: ErrorClass.TLS,
    pycurl.E_GOT_NOTHING: ErrorClass.RESET,
    pycurl.E_SEND_ERROR: ErrorClass.RESET,
    pycurl.E_RECV_ERROR: ErrorClass.RESET,
    pycurl.E_PARTIAL_FILE: ErrorClass.RESET,
    pycurl.E_UNSUPPORTED_PROTOCOL: ErrorClass.INVALID,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: ErrorClass.INVALID,
    pycurl.E_BAD_CONTENT_ENCODING: ErrorClass.INVALID,
    _E_TOO_LARGE: ErrorClass.INVALID,
}


class CurlSender:
    """See delivery.sending.request.Sender. Exchanges of `begin` run in the thread of its `turns`; those of `send` run
    in one thread that the sender owns."""

    def __init__(
        self,
        policy: AddressPolicy,
        resolve: Resolver | None = None,
        ca_file: str = "",
        keep: Keep = DEFAULT_KEEP,
        on_busy: OnBusy | None = None,
    ) -> None:
        self._policy = policy
        self._on_busy = on_busy or (lambda _owner: None)
        self._resolve = resolve or SystemResolver()
        self._bundle = trust.Bundle(ca_file)
        self._keep = keep
        self._lanes: dict[Turns, Lane] = {}
        self._own: Turns | None = None
        self._lock = threading.Lock()

    def send(self, request: Request) -> Outcome:
        outcome: Future[Outcome] = Future()
        turns = self._own_turns()

        def begin() -> None:
            try:
                self.begin(request, turns, outcome.set_result)
            except Exception as error:
                outcome.set_exception(error)

        turns.soon(begin)
        return outcome.result()

    def begin(self, request: Request, turns: Turns, then: Then) -> None:
        lane = self._lanes.get(turns)
        if lane is None:
            exchanges = Exchanges(turns, self._keep.connections, self._on_busy)
            lane = Lane(turns, exchanges, self._bundle.path, self._policy, self._resolve, self._keep)
            self._lanes[turns] = lane
        lane.begin(request, then)

    def close(self) -> None:
        if self._own is not None:
            self._own.stop()
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()
        self._bundle.close()

    def _own_turns(self) -> Turns:
        with self._lock:
            if self._own is None:
                self._own = Turns("curl", helpers=_LOOKUPS)
                self._own.start()
            return self._own


class Lane:
    """The exchanges of one thread, with the connections, handles and origins that they share."""

    def __init__(
        self,
        turns: Turns,
        exchanges: Exchanges,
        bundle_path: str,
        policy: AddressPolicy,
        resolve: Resolver,
        keep: Keep,
    ) -> None:
        self._turns = turns
        self._exchanges = exchanges
        self._bundle_path = bundle_path
        self._policy = policy
        self._resolve = resolve
        self._keep = keep
        self._idle: list[Handle] = []
        self._origins: OrderedDict[tuple[str, str, int], Origin] = OrderedDict()

    def begin(self, request: Request, then: Then) -> None:
        attempt = Attempt()
        try:
            endpoint = read_endpoint(request, self._policy)
            post = _Post(request, endpoint, request_headers(request, endpoint), self._origin(endpoint), attempt, then)
            is_new = not post.origin.is_usable(self._keep)
            if is_new and endpoint.address is not None:
                post.origin.aim(endpoint, self._locate(post))
        except Exception as error:
            then(attempt.ends(_raising(error)))
            return
        if is_new and endpoint.address is None:
            self._turns.branch(partial(self._look_up, post))
        else:
            self._perform(post, is_new=is_new)

    def close(self) -> None:
        self._exchanges.close()
        for handle in self._idle:
            handle.close()

    def _origin(self, endpoint: EndpointURL) -> Origin:
        key = (endpoint.scheme, endpoint.host, endpoint.port)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = Origin()
            if len(self._origins) > _ORIGINS:
                self._origins.popitem(last=False)
        return origin

    def _locate(self, post: "_Post") -> tuple[Address, ...]:
        return locate(post.endpoint, self._policy, self._resolve, post.request.connect_timeout_s)

    def _look_up(self, post: "_Post") -> None:
        """Runs as a task, because a look-up may take long."""
        try:
            post.origin.aim(post.endpoint, offload(self._locate, post))
        except Exception as error:
            post.then(post.attempt.ends(_raising(error)))
        else:
            self._perform(post, is_new=True)

    def _new_handle(self) -> Handle:
        return Handle(self._bundle_path, self._policy, self._keep, self._exchanges.guard.owns)

    def _perform(self, post: "_Post", *, is_new: bool) -> None:
        handle = self._idle.pop() if self._idle else self._new_handle()
        attempt = post.attempt

        def has_ended(ended: Ended) -> None:
            outcome = attempt.ends(lambda: _ending(handle, attempt.answer, ended))
            handle.has_ended(ended)
            self._exchanges.free(handle.curl)
            self._idle.append(handle)
            post.then(outcome)

        try:
            handle.set_up(
                post.request,
                post.endpoint.url,
                post.headers,
                attempt.answer,
                post.origin,
                is_new=is_new,
                spent_s=attempt.spent_s(),
            )
            self._exchanges.begin(handle.curl, post.request.owner, has_ended)
        except Exception as error:  # libcurl refuses an option, say: the attempt must end in any case
            handle.close()
            post.then(attempt.ends(_raising(error)))


@dataclass(frozen=True, slots=True)
class _Post:
    """A request, where it goes, and what to call with its outcome."""

    request: Request
    endpoint: EndpointURL
    headers: dict[str, tuple[str, str]]
    origin: Origin
    attempt: Attempt
    then: Then


def _raising(error: Exception) -> Callable[[], int]:
    def ending() -> int:
        raise error

    return ending


def _ending(handle: Handle, answer: Answer, ended: Ended) -> int:
    """The final status. Raises Failure."""
    failure = handle.ending(ended)
    if failure is not None:
        _raise_failure(handle, answer, *failure)
    return answer.check_complete()


def _raise_failure(handle: Handle, answer: Answer, code: int, message: str) -> None:
    """Raises the Failure of libcurl's error. Returns if it is not one for us: a body that ends with its connection."""
    if (code, message) == FLOODED:
        raise Failure(ErrorClass.INVALID, message)
    if code == pycurl.E_OPERATION_TIMEDOUT:
        error = ErrorClass.TIMEOUT if handle.was_connected else ErrorClass.CONNECT_TIMEOUT
    elif code == pycurl.E_COULDNT_CONNECT and handle.os_errno == errno.ETIMEDOUT:
        error = ErrorClass.CONNECT_TIMEOUT
    elif "chunk" in message:  # an invalid chunk length, which has the code of a broken connection
        error = ErrorClass.INVALID
    elif "unexpected eof" in message and answer.is_head_complete and answer.ends_with_connection:
        return  # many servers close without TLS's close_notify
    else:
        error = _CLASSES.get(code, ErrorClass.INTERNAL)
    raise caused(error, f"{message}, {code}" if message else str(code))
