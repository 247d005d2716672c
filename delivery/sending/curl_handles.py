"""libcurl handles, each with the one connection it keeps open, and the pool that lends them to threads.

A handle is aimed at one endpoint's permitted addresses when it is new to it, and connects to those; the socket
callback checks each address once more, so nothing that libcurl comes to by itself is ever connected to. Taking over a
handle from another endpoint is better than a new one: reading the authorities takes 6 ms and 0.6 MB, once per handle.
"""

import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import pycurl

from delivery.outcomes import HEAD_MAX_BYTES, ErrorClass
from delivery.sending.answers import Answer
from delivery.sending.exchange import Exchanges
from delivery.sending.failures import Failure
from delivery.sending.request import DEFAULT_KEEP, Keep
from partners.addresses import Address, AddressPolicy
from partners.endpoints import Endpoint

Origin = tuple[str, str, int]


class _Lent(socket.socket):
    """pycurl takes a copy of the descriptor and drops the socket, which is no leak to warn of."""

    def __del__(self) -> None:
        self.close()


def origin_of(endpoint: Endpoint) -> Origin:
    return endpoint.scheme, endpoint.host, endpoint.port


class Handle:
    """Used by one thread at a time."""

    def __init__(self, bundle_path: str, policy: AddressPolicy, keep: Keep = DEFAULT_KEEP) -> None:
        self.origin: Origin | None = None
        self._refused: Failure | None = None
        """What a callback stopped the exchange for; libcurl itself only knows that it was stopped."""
        self._lines: list[bytes] = []
        self._head_room = 0
        self._policy = policy
        self._keep = keep
        self._answer = Answer()
        self._pinned = ""
        self._aimed_at = 0.0
        self._used_at = 0.0
        self._is_connected = False
        self._curl = pycurl.Curl()
        self._exchanges = Exchanges(self._curl)
        self._set_up(bundle_path)

    def is_connected_to(self, endpoint: Endpoint) -> bool:
        """Whether it has a connection to there that may still be used; otherwise it must be aimed first."""
        now = time.monotonic()
        return (
            self._is_connected
            and self.origin == origin_of(endpoint)
            and now - self._aimed_at < self._keep.age_s
            and now - self._used_at < self._keep.idle_s
        )

    @property
    def was_connected(self) -> bool:
        """Whether the last exchange got as far as to send: connected, and through with the TLS handshake."""
        return bool(self._curl.getinfo(pycurl.REQUEST_SIZE) > 0)

    @property
    def os_errno(self) -> int:
        return int(self._curl.getinfo(pycurl.OS_ERRNO))

    def aim(self, endpoint: Endpoint, addresses: tuple[Address, ...]) -> None:
        """The next exchange makes a new connection, to one of these addresses."""
        pins = [f"-{self._pinned}"] if self._pinned else []
        self._pinned = ""
        if endpoint.address is None:
            self._pinned = f"{endpoint.host}:{endpoint.port}"
            pins.append(f"{self._pinned}:{','.join(map(_bracketed, addresses))}")
        self._curl.setopt(pycurl.RESOLVE, pins)
        self._curl.setopt(pycurl.FRESH_CONNECT, 1)
        self.origin = origin_of(endpoint)
        self._aimed_at = time.monotonic()

    def perform(
        self,
        url: str,
        headers: Mapping[str, tuple[str, str]],
        body: bytes,
        answer: Answer,
        *,
        connect_timeout_s: float,
        timeout_s: float,
    ) -> None:
        """One exchange into `answer`. Raises pycurl.error, or Failure for what we do not take though libcurl might."""
        curl = self._curl
        self._answer = answer
        self._refused = None
        self._lines = []
        self._head_room = HEAD_MAX_BYTES
        self._is_connected = False
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.HTTPHEADER, _header_lines(headers))
        curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(connect_timeout_s))
        curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(timeout_s))
        try:
            self._exchanges.perform()
        except pycurl.error:
            self._read_lines()
            if self._refused is not None:  # it says more than how the exchange ended
                raise self._refused from None
            raise
        finally:
            self._used_at = time.monotonic()
            curl.setopt(pycurl.FRESH_CONNECT, 0)
        self._read_lines()
        self._is_connected = curl.getinfo(pycurl.ACTIVESOCKET) != -1

    def close(self) -> None:
        self._exchanges.close()
        self._curl.close()

    def _set_up(self, bundle_path: str) -> None:
        curl = self._curl
        for option, value in _OPTIONS.items():
            curl.setopt(option, value)
        curl.setopt(pycurl.CAINFO, bundle_path)
        curl.setopt(pycurl.MAXAGE_CONN, max(1, int(self._keep.idle_s)))
        curl.setopt(pycurl.MAXLIFETIME_CONN, max(1, int(self._keep.age_s)))
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        curl.setopt(pycurl.HEADERFUNCTION, self._on_line)
        curl.setopt(pycurl.WRITEFUNCTION, self._on_body)

    def _open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """The last check, on the very address that is connected to next."""
        family, kind, protocol, (host, port, *_) = address
        refusal = self._policy.refusal(ip_address(host), port)
        if refusal is not None:
            self._refused = Failure(ErrorClass.BLOCKED, refusal)
            return _SOCKET_BAD
        self._exchanges.has_new_socket()
        return _Lent(family, kind, protocol)

    def _on_line(self, line: bytes) -> int:
        """Called for each line, so most are only kept; the answer reads them at the end of each head."""
        self._lines.append(line)
        self._head_room -= len(line)
        if line in _LINE_BREAKS or self._head_room < 0:
            try:
                self._read_lines()
            except Failure as failure:
                self._refused = failure
                return -1
        return len(line)

    def _read_lines(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            self._answer.feed_line(line)

    def _on_body(self, data: bytes) -> int:
        try:
            self._answer.feed_body(data)
        except Failure as failure:
            self._refused = failure
            return -1
        return len(data)


class Handles:
    """Lends handles: one with a connection to the endpoint if there is one, else the one that was idle longest."""

    def __init__(self, bundle_path: str, policy: AddressPolicy, keep: Keep) -> None:
        self._bundle_path = bundle_path
        self._policy = policy
        self._keep = keep
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, Handle] = OrderedDict()
        """By identity, the one idle longest first."""
        self._by_origin: dict[Origin | None, list[Handle]] = {}
        self._is_closed = False

    def take(self, endpoint: Endpoint) -> Handle:
        with self._lock:
            same = self._by_origin.get(origin_of(endpoint))
            if same:
                return self._remove(same[-1])
            if len(self._idle) >= self._keep.connections:
                return self._remove(next(iter(self._idle.values())))
        return Handle(self._bundle_path, self._policy, self._keep)

    def give_back(self, handle: Handle) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle[id(handle)] = handle
                self._by_origin.setdefault(handle.origin, []).append(handle)
                surplus = (
                    self._remove(next(iter(self._idle.values()))) if len(self._idle) > self._keep.connections else None
                )
            else:
                surplus = handle
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            handles = list(self._idle.values())
            self._idle.clear()
            self._by_origin.clear()
        for handle in handles:
            handle.close()

    def _remove(self, handle: Handle) -> Handle:
        """From the idle ones; the caller holds the lock."""
        del self._idle[id(handle)]
        same = self._by_origin[handle.origin]
        same.remove(handle)
        if not same:
            del self._by_origin[handle.origin]
        return handle


_OPTIONS: dict[int, object] = {
    pycurl.NOSIGNAL: 1,
    pycurl.POST: 1,
    pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
    pycurl.FOLLOWLOCATION: 0,
    pycurl.PROXY: "",  # none, whatever the environment says
    pycurl.NETRC: pycurl.NETRC_IGNORED,
    pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
    pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
    pycurl.SSL_VERIFYPEER: 1,
    pycurl.SSL_VERIFYHOST: 2,
    pycurl.PATH_AS_IS: 1,
    pycurl.HTTP_CONTENT_DECODING: 0,
    pycurl.MAXCONNECTS: 1,
    pycurl.DNS_CACHE_TIMEOUT: 0,
}
_SOCKET_BAD = -1
_LINE_BREAKS = frozenset({b"\r\n", b"\n"})
_NOT_ADDED = (("expect", "Expect:"), ("content-type", "Content-Type:"), ("user-agent", "User-Agent:"))
"""What libcurl would send of its own accord, `Expect` with large bodies, which it then holds back for a second."""


def _bracketed(address: Address) -> str:
    return str(address) if address.version == 4 else f"[{address}]"


def _header_lines(headers: Mapping[str, tuple[str, str]]) -> list[str]:
    """In libcurl's notation: `Name:` is for what is not to be sent, and `Name;` for what is sent empty."""
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.values()]
    return lines + [line for name, line in _NOT_ADDED if name not in headers]


def _milliseconds(seconds: float) -> int:
    """At least one: zero means no timeout to libcurl."""
    return max(1, round(seconds * 1000))
