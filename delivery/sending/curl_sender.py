"""The fast sender: libcurl through pycurl, whose work is done in C without Python's global lock.

libcurl keeps the deadline, speaks TLS and HTTP, and repeats a request by itself when a kept connection turns out to be
closed before anything of an answer came. What an answer may be is decided by delivery.sending.answers, line by line.
"""

import errno
import time

import pycurl

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import trust
from delivery.sending.answers import Answer
from delivery.sending.attempt import attempt
from delivery.sending.curl_handles import Handle, Handles
from delivery.sending.failures import caused
from delivery.sending.request import (
    DEFAULT_KEEP,
    LONGEST_TIMEOUT_S,
    Keep,
    Request,
    locate,
    read_endpoint,
    request_headers,
)
from delivery.turns import offload
from partners.addresses import Address, AddressPolicy
from partners.endpoints import Endpoint
from partners.resolving import Resolver, SystemResolver

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
    """See delivery.sending.request.Sender."""

    def __init__(
        self, policy: AddressPolicy, resolve: Resolver | None = None, ca_file: str = "", keep: Keep = DEFAULT_KEEP
    ) -> None:
        self._policy = policy
        self._resolve = resolve or SystemResolver()
        self._bundle = trust.Bundle(ca_file)
        self._handles = Handles(self._bundle.path, policy, keep)

    def send(self, request: Request) -> Outcome:
        return attempt(lambda answer, started: self._exchange(request, answer, started))

    def close(self) -> None:
        self._handles.close()
        self._bundle.close()

    def _exchange(self, request: Request, answer: Answer, started: float) -> int:
        endpoint = read_endpoint(request, self._policy)
        headers = request_headers(request, endpoint)
        handle = self._handles.take(endpoint)
        try:
            if not handle.is_connected_to(endpoint):
                addresses = self._locate(endpoint, request.connect_timeout_s)
                handle.aim(endpoint, addresses)
            spent_s = time.monotonic() - started
            handle.perform(
                endpoint.url,
                headers,
                request.body,
                answer,
                connect_timeout_s=request.connect_timeout_s - spent_s,
                timeout_s=min(request.timeout_s, LONGEST_TIMEOUT_S) - spent_s,
            )
        except pycurl.error as error:
            _raise_failure(handle, answer, *error.args)
        finally:
            self._handles.give_back(handle)
        return answer.check_complete()

    def _locate(self, endpoint: Endpoint, timeout_s: float) -> tuple[Address, ...]:
        where = (endpoint, self._policy, self._resolve, timeout_s)
        return locate(*where) if endpoint.address is not None else offload(locate, *where)


def _raise_failure(handle: Handle, answer: Answer, code: int, message: str) -> None:
    """What libcurl's error means. Returns for one that is none: a body that ended with its connection."""
    if code == pycurl.E_OPERATION_TIMEDOUT:
        error = ErrorClass.TIMEOUT if handle.was_connected else ErrorClass.CONNECT_TIMEOUT
    elif code == pycurl.E_COULDNT_CONNECT and handle.os_errno == errno.ETIMEDOUT:
        error = ErrorClass.CONNECT_TIMEOUT
    elif "chunk" in message:  # a chunk's length that is none has the code of a broken connection
        error = ErrorClass.INVALID
    elif "unexpected eof" in message and answer.is_head_complete and answer.ends_with_connection:
        return  # many servers close without TLS's own goodbye; of the body nothing depends on it
    else:
        error = _CLASSES.get(code, ErrorClass.INTERNAL)
    raise caused(error, f"{message}, {code}" if message else str(code))
