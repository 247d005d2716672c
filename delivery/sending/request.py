"""The request, the interface of senders, and the checks before connecting."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending.failures import Failure
from delivery.sending.resolving import LookupFailed, NoRoomToLookUp, Resolver
from delivery.turns import Turns
from partners.addresses import Address, AddressPolicy
from partners.endpoints import EndpointURL, check_scheme, read_url
from partners.errors import EndpointRefused

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 15.0
LONGEST_TIMEOUT_S = 30.0

_HEADERS_MAX_BYTES = 32 * 1024
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OURS = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "expect", "host", "http2-settings", "keep-alive"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST request. The senders add Host, Content-Length, Accept-Encoding and Connection to its headers."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    """The timeout of look-up, connecting and TLS handshake together."""
    timeout_s: float = TIMEOUT_S
    """The timeout of the whole exchange, from the call to the last byte; at most LONGEST_TIMEOUT_S."""
    owner: str = ""
    """Whose request it is, for OnBusy."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How long connections are kept open for the next request, and how many."""

    connections: int = 500
    """In one process, for all endpoints together."""
    idle_s: float = 30.0
    age_s: float = 60.0
    """Older connections are not used, so that a name's new address is noticed."""


DEFAULT_KEEP = Keep()


Then = Callable[[Outcome], None]
"""Called with the outcome when an exchange has ended."""


OnBusy = Callable[[str], None]
"""Called with the owner of a request whose server kept the sender busy with what is no answer, perhaps only after the
exchange."""


class Sender(Protocol):
    """There is one per process, created after a fork. Many threads may call `send` at the same time.

    At least once: if a kept connection was closed before any byte of an answer came, the request is sent again on
    another one, in the same attempt. The endpoint may then get it twice, and can recognise it by its `webhook-id`.
    """

    def send(self, request: Request) -> Outcome:
        """Sends a request and returns its outcome within its timeout. Never raises for an endpoint's fault."""
        ...

    def begin(self, request: Request, turns: Turns, then: Then) -> None:
        """The same without waiting. `then` is called in the thread of `turns`, perhaps before this returns."""
        ...

    def close(self) -> None:
        """Closes idle connections. Exchanges of `send` end normally; those of `begin` must have ended before."""
        ...


def make_sender(
    name: str, policy: AddressPolicy, ca_file: str = "", on_busy: OnBusy | None = None, keep: Keep = DEFAULT_KEEP
) -> Sender:
    """The sender of this name: `requests` or `curl`. `ca_file` adds authorities to certifi's."""
    if name == "curl":
        from delivery.sending.curl_sender import CurlSender  # noqa: PLC0415 - each takes 30 to 80 ms and 10 MB

        return CurlSender(policy, ca_file=ca_file, keep=keep, on_busy=on_busy)
    from delivery.sending.requests_sender import RequestsSender  # noqa: PLC0415 - as above

    return RequestsSender(policy, ca_file=ca_file, keep=keep)


def read_endpoint(request: Request, policy: AddressPolicy) -> EndpointURL:
    """The request's endpoint. Raises Failure for a URL that is not permitted, whatever its address is."""
    try:
        endpoint = read_url(request.url)
        check_scheme(endpoint, policy)
    except EndpointRefused as refused:
        raise Failure(ErrorClass.BLOCKED, str(refused)) from None
    return endpoint


def request_headers(request: Request, endpoint: EndpointURL) -> dict[str, tuple[str, str]]:
    """All headers, by their names in lower case: the name as given, and the value.

    Raises Failure for a header that is invalid, or that only the sender may set.
    """
    headers = {
        "host": ("Host", endpoint.authority),
        "accept-encoding": ("Accept-Encoding", "identity"),
        "content-length": ("Content-Length", str(len(request.body))),
    }
    size = 0
    for name, value in request.headers.items():
        lower = _checked_name(name)
        if lower in headers:
            raise Failure(ErrorClass.UNSENDABLE, f"the header {name[:60]!r} is given twice")
        if not (value.isascii() and value.isprintable()) and not _VALUE.fullmatch(value):
            raise Failure(ErrorClass.UNSENDABLE, f"the header {name[:60]!r} is not one line of printable ASCII")
        size += len(name) + len(value)
        headers[lower] = (name, value.strip(" \t"))
    if size > _HEADERS_MAX_BYTES:
        raise Failure(ErrorClass.UNSENDABLE, f"the headers have {size} bytes, more than {_HEADERS_MAX_BYTES}")
    headers.setdefault("accept", ("Accept", "*/*"))
    return headers


@lru_cache(maxsize=1000)
def _checked_name(name: str) -> str:
    """The name in lower case. Cached, because the same few come often. Raises Failure, which is not cached."""
    if not _NAME.fullmatch(name):
        raise Failure(ErrorClass.UNSENDABLE, f"{name[:60]!r} is not a header's name")
    if name.lower() in _OURS:
        raise Failure(ErrorClass.UNSENDABLE, f"the header {name[:60]!r} is set by us")
    return name.lower()


def locate(endpoint: EndpointURL, policy: AddressPolicy, resolve: Resolver, timeout_s: float) -> tuple[Address, ...]:
    """The permitted addresses of the endpoint, best first. Raises Failure if there is none."""
    if endpoint.address is not None:
        addresses: tuple[Address, ...] = (endpoint.address,)
    else:
        try:
            addresses = resolve(endpoint.host, timeout_s)
        except NoRoomToLookUp as error:
            raise Failure(ErrorClass.INTERNAL, str(error)) from None
        except LookupFailed as error:
            raise Failure(ErrorClass.DNS, str(error)) from None
    permitted = tuple(address for address in addresses if policy.refusal(address, endpoint.port) is None)
    if not permitted:
        raise Failure(ErrorClass.BLOCKED, str(policy.refusal(addresses[0], endpoint.port)))
    return permitted
