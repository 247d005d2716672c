"""A libcurl handle: one exchange at a time, with the checks that we make beside libcurl's own.

It connects to the addresses that it is given; the socket callback checks each once more, so nothing that libcurl comes
to by itself is ever connected to.
"""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pycurl

from delivery.outcomes import HEAD_MAX_BYTES, ErrorClass
from delivery.sending.answers import Answer
from delivery.sending.failures import Failure
from delivery.sending.request import Keep
from partners.addresses import Address, AddressPolicy
from partners.endpoints import EndpointURL


class _Lent(socket.socket):
    """pycurl takes a copy of the descriptor and drops the socket, which is no leak to warn of."""

    def __del__(self) -> None:
        self.close()


@dataclass(slots=True)
class Origin:
    """What is remembered of one scheme, host and port."""

    pins: list[str] = field(default_factory=list)
    """The addresses that its name stands for, in libcurl's notation; empty for an address."""
    looked_up_at: float = 0.0
    used_at: float = 0.0
    is_kept: bool = False
    """Whether the last exchange left its connection open."""

    def is_usable(self, keep: Keep) -> bool:
        """Whether there is a connection that may still be used; otherwise its addresses must be found first."""
        now = time.monotonic()
        return self.is_kept and now - self.looked_up_at < keep.age_s and now - self.used_at < keep.idle_s

    def aim(self, endpoint: EndpointURL, addresses: tuple[Address, ...]) -> None:
        self.looked_up_at = time.monotonic()
        if endpoint.address is None:
            self.pins = [f"{endpoint.host}:{endpoint.port}:{','.join(map(_bracketed, addresses))}"]


class Handle:
    """`set_up` it, have libcurl perform `curl`, and ask it for the `ending`."""

    def __init__(self, bundle_path: str, policy: AddressPolicy, keep: Keep) -> None:
        self.curl = pycurl.Curl()
        self._refused: Failure | None = None
        """What a callback stopped the exchange for; libcurl itself only knows that it was stopped."""
        self._lines: list[bytes] = []
        self._head_room = 0
        self._policy = policy
        self._answer = Answer()
        self._origin = Origin()
        self._set: dict[int, Any] = {pycurl.RESOLVE: [], pycurl.FRESH_CONNECT: False}
        for option, value in _OPTIONS.items():
            self.curl.setopt(option, value)
        self.curl.setopt(pycurl.CAINFO, bundle_path)
        self.curl.setopt(pycurl.MAXAGE_CONN, max(1, int(keep.idle_s)))
        self.curl.setopt(pycurl.MAXLIFETIME_CONN, max(1, int(keep.age_s)))
        self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._on_line)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._on_body)

    def set_up(
        self,
        url: str,
        headers: Mapping[str, tuple[str, str]],
        body: bytes,
        answer: Answer,
        origin: Origin,
        *,
        is_new: bool,
        connect_timeout_s: float,
        timeout_s: float,
    ) -> None:
        """One exchange into `answer`; on a new connection, or on one that is kept."""
        self._answer, self._origin = answer, origin
        self._refused = None
        self._lines = []
        self._head_room = HEAD_MAX_BYTES
        self.curl.setopt(pycurl.HTTPHEADER, _header_lines(headers))
        self.curl.setopt(pycurl.POSTFIELDS, body)
        self._set_anew(pycurl.URL, url)
        if is_new:  # into the cache that all handles share: this one may have been the last to set the same
            self._set.pop(pycurl.RESOLVE, None)
        self._set_anew(pycurl.RESOLVE, origin.pins)
        self._set_anew(pycurl.FRESH_CONNECT, is_new)
        self._set_anew(pycurl.CONNECTTIMEOUT_MS, _milliseconds(connect_timeout_s))
        self._set_anew(pycurl.TIMEOUT_MS, _milliseconds(timeout_s))

    def _set_anew(self, option: int, value: Any) -> None:
        """Unless that is what it was; most are, and each costs a microsecond."""
        if self._set.get(option) != value:
            self.curl.setopt(option, value)
            self._set[option] = value

    def has_ended(self, ended: tuple[int, str] | None) -> None:
        """Before libcurl forgets what became of the connection. It keeps none after an error."""
        self._origin.used_at = time.monotonic()
        self._origin.is_kept = ended is None and self.curl.getinfo(pycurl.ACTIVESOCKET) != -1

    def ending(self, ended: tuple[int, str] | None) -> tuple[int, str] | None:
        """Raises Failure for what we do not take though libcurl might."""
        if ended is None:
            self._read_lines()
            return None
        try:
            self._read_lines()
        except Failure:
            if self._refused is None:
                raise
        if self._refused is not None:  # it says more than how the exchange ended
            raise self._refused
        return ended

    @property
    def was_connected(self) -> bool:
        """Whether the last exchange got as far as to send: connected, and through with the TLS handshake."""
        return bool(self.curl.getinfo(pycurl.REQUEST_SIZE) > 0)

    @property
    def os_errno(self) -> int:
        return int(self.curl.getinfo(pycurl.OS_ERRNO))

    def close(self) -> None:
        self.curl.close()

    def _open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """The last check, on the very address that is connected to next."""
        family, kind, protocol, (host, port, *_) = address
        refusal = self._policy.refusal(ip_address(host), port)
        if refusal is not None:
            self._refused = Failure(ErrorClass.BLOCKED, refusal)
            return _SOCKET_BAD
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
