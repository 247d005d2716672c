"""A libcurl handle, which performs one exchange at a time, with our own checks.

It connects to the addresses that it is given. The socket callback checks each address again, so libcurl never connects
to one that it found by itself.
"""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Protocol

import pycurl

from delivery.outcomes import HEAD_MAX_BYTES, HEAD_MAX_LINES, ErrorClass
from delivery.sending import trust
from delivery.sending.answers import Answer
from delivery.sending.failures import Failure, without_socket
from delivery.sending.request import LONGEST_TIMEOUT_S, Keep, Request
from partners.addresses import Address, AddressPolicy
from partners.endpoints import EndpointURL


class Owns(Protocol):
    def __call__(self, descriptor: int, owner: str, *, has_tls: bool) -> None:
        """Called with each socket that is created, and with the owner of the request."""


class _Lent(socket.socket):
    """Closes itself without a ResourceWarning: pycurl copies the descriptor and drops the socket."""

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be created
            self.close()


@dataclass(slots=True)
class Origin:
    """What is remembered of one scheme, host and port."""

    pins: list[str] = field(default_factory=list)
    """The addresses of the host name, as libcurl's RESOLVE option takes them; empty if the host is an address."""
    looked_up_at: float = 0.0
    used_at: float = 0.0
    is_kept: bool = False
    """Whether the last exchange left its connection open."""

    def is_usable(self, keep: Keep) -> bool:
        """Whether a kept connection may be used; otherwise the addresses must be looked up first."""
        now = time.monotonic()
        return self.is_kept and now - self.looked_up_at < keep.age_s and now - self.used_at < keep.idle_s

    def aim(self, endpoint: EndpointURL, addresses: tuple[Address, ...]) -> None:
        self.looked_up_at = time.monotonic()
        if endpoint.address is None:
            self.pins = [f"{endpoint.host}:{endpoint.port}:{','.join(map(_bracketed, addresses))}"]


class Handle:
    """Call `set_up`, let libcurl perform `curl`, and then call `ending`."""

    def __init__(self, bundle_path: str, policy: AddressPolicy, keep: Keep, owns: Owns) -> None:
        self.curl = pycurl.Curl()
        self._owns = owns
        self._owner = ""
        self._has_tls = False
        self._refused: Failure | None = None
        """Why a callback stopped the exchange; libcurl only reports that it was stopped."""
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
        self.curl.setopt(pycurl.SOCKOPTFUNCTION, self._on_socket)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._on_line)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._on_body)

    def set_up(
        self,
        request: Request,
        url: str,
        headers: Mapping[str, tuple[str, str]],
        answer: Answer,
        origin: Origin,
        *,
        is_new: bool,
        spent_s: float = 0.0,
    ) -> None:
        """Prepares an exchange that fills `answer`, on a new connection or on a kept one.

        `spent_s` is how much of the request's time is over.
        """
        self._answer, self._origin, self._owner = answer, origin, request.owner
        self._refused = None
        self._lines = []
        self._head_room = HEAD_MAX_BYTES
        self.curl.setopt(pycurl.HTTPHEADER, _header_lines(headers))
        self.curl.setopt(pycurl.POSTFIELDS, request.body)
        self._has_tls = url.startswith("https:")
        self._set_anew(pycurl.URL, url)
        if is_new:  # set it even if this handle has the same: it goes to a cache that all handles share
            self._set.pop(pycurl.RESOLVE, None)
        self._set_anew(pycurl.RESOLVE, origin.pins)
        self._set_anew(pycurl.FRESH_CONNECT, is_new)
        self._set_anew(pycurl.CONNECTTIMEOUT_MS, _milliseconds(request.connect_timeout_s - spent_s))
        self._set_anew(pycurl.TIMEOUT_MS, _milliseconds(min(request.timeout_s, LONGEST_TIMEOUT_S) - spent_s))

    def _set_anew(self, option: int, value: Any) -> None:
        """Sets an option if its value changes, because each call takes a microsecond."""
        if self._set.get(option) != value:
            self.curl.setopt(option, value)
            self._set[option] = value

    def has_ended(self, ended: tuple[int, str] | None) -> None:
        """Notes whether the connection stays open; after an error it never does. To be called before the handle is
        freed."""
        self._origin.used_at = time.monotonic()
        self._origin.is_kept = ended is None and self.curl.getinfo(pycurl.ACTIVESOCKET) != -1

    def ending(self, ended: tuple[int, str] | None) -> tuple[int, str] | None:
        """Returns libcurl's error, or None. Raises Failure if we refuse an answer that libcurl accepts."""
        if ended is None:
            self._read_lines()
            return None
        try:
            self._read_lines()
        except Failure:
            if self._refused is None:
                raise
        if self._refused is not None:  # it is more precise than libcurl's error
            raise self._refused
        return ended

    @property
    def was_connected(self) -> bool:
        """Whether the last exchange sent anything: it was connected, and the TLS handshake was complete."""
        return bool(self.curl.getinfo(pycurl.REQUEST_SIZE) > 0)

    @property
    def os_errno(self) -> int:
        return int(self.curl.getinfo(pycurl.OS_ERRNO))

    def close(self) -> None:
        self.curl.close()

    def _open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """Creates a socket, after a last check of the address to which libcurl connects it."""
        family, kind, protocol, (host, port, *_) = address
        refusal = self._policy.refusal(ip_address(host), port)
        if refusal is not None:
            self._refused = Failure(ErrorClass.BLOCKED, refusal)
            return _SOCKET_BAD
        try:
            opened = _Lent(family, kind, protocol)
        except OSError as error:
            self._refused = without_socket(error)
            return _SOCKET_BAD
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        return opened

    def _on_socket(self, descriptor: int, _purpose: int) -> int:
        self._owns(descriptor, self._owner, has_tls=self._has_tls)
        return int(pycurl.SOCKOPT_OK)

    def _on_line(self, line: bytes) -> int:
        """Called by libcurl for each line. The lines are collected, and parsed at the end of the head."""
        self._lines.append(line)
        self._head_room -= len(line)
        if line in _LINE_BREAKS or self._head_room < 0 or len(self._lines) > HEAD_MAX_LINES:
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
    pycurl.SSL_CIPHER_LIST: trust.CIPHERS,
    pycurl.SSL_VERIFYPEER: 1,
    pycurl.SSL_VERIFYHOST: 2,
    pycurl.PATH_AS_IS: 1,
    pycurl.HTTP_CONTENT_DECODING: 0,
    pycurl.DNS_CACHE_TIMEOUT: 0,
}
_SOCKET_BAD = -1
_RECEIVE_BUFFER_BYTES = 16 * 1024
"""Bounds what OpenSSL reads at once: 64 KB of KeyUpdates cost it 80 ms."""
_LINE_BREAKS = frozenset({b"\r\n", b"\n"})
_NOT_ADDED = (("expect", "Expect:"), ("content-type", "Content-Type:"), ("user-agent", "User-Agent:"))
"""Headers that libcurl adds by default. With `Expect`, it delays large bodies for a second."""


def _bracketed(address: Address) -> str:
    return str(address) if address.version == 4 else f"[{address}]"


def _header_lines(headers: Mapping[str, tuple[str, str]]) -> list[str]:
    """The headers in libcurl's notation: `Name:` omits a header, `Name;` sends an empty one."""
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.values()]
    return lines + [line for name, line in _NOT_ADDED if name not in headers]


def _milliseconds(seconds: float) -> int:
    """At least 1, because 0 means no timeout to libcurl."""
    return max(1, round(seconds * 1000))
