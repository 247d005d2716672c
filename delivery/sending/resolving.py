"""Looks host names up within a bounded time.

`getaddrinfo` takes as long as it likes (half a minute when a name server is dead) and cannot be stopped, so it runs in
a thread of its own; the caller waits no longer than it can afford. Lookups of the same name at the same time share one
thread, so one partner's dead name server holds one thread, not one per attempt. Nothing is cached.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from ipaddress import ip_address

from partners.addresses import Address

MAX_LOOKUPS = 256


class LookupFailed(OSError):  # noqa: N818 - it says what happened
    """The name has no address, or none was found in time; `str()` is the reason."""


Resolver = Callable[[str, float], tuple[Address, ...]]
"""Called with a host name and a timeout in seconds, from many threads: the addresses of the name, best first, at least
one; raises LookupFailed."""


class SystemResolver:
    """Asks the operating system, /etc/hosts included."""

    def __init__(
        self,
        getaddrinfo: Callable[..., Sequence[tuple[object, ...]]] = socket.getaddrinfo,
        max_lookups: int = MAX_LOOKUPS,
    ) -> None:
        self._getaddrinfo = getaddrinfo
        self._max_lookups = max_lookups
        self._lock = threading.Lock()
        self._running: dict[str, Future[tuple[Address, ...]]] = {}

    def __call__(self, host: str, timeout_s: float) -> tuple[Address, ...]:
        lookup = self._join(host)
        try:
            return lookup.result(timeout=max(timeout_s, 0.0))
        except FutureTimeout:
            raise LookupFailed(f"looking up {host} took longer than {timeout_s:.3g} s") from None

    def _join(self, host: str) -> Future[tuple[Address, ...]]:
        """The running lookup of this name, or a new one."""
        with self._lock:
            lookup = self._running.get(host)
            if lookup is not None:
                return lookup
            if len(self._running) >= self._max_lookups:
                raise LookupFailed(f"{len(self._running)} names are being looked up already")
            lookup = self._running[host] = Future()
        try:
            threading.Thread(target=self._look_up, args=(host, lookup), name="lookup", daemon=True).start()
        except RuntimeError as error:  # no more threads: nobody would ever end this lookup
            self._leave(host)
            lookup.set_exception(_as_failure(host, error))
        return lookup

    def _look_up(self, host: str, lookup: Future[tuple[Address, ...]]) -> None:
        try:
            found = self._getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
            result = _addresses(found)
        except Exception as error:  # whatever it is, the waiting attempts must hear of it
            self._leave(host)
            lookup.set_exception(_as_failure(host, error))
        else:
            self._leave(host)
            lookup.set_result(result)

    def _leave(self, host: str) -> None:
        with self._lock:
            del self._running[host]


def _addresses(found: Sequence[tuple[object, ...]]) -> tuple[Address, ...]:
    """Of getaddrinfo's answer, each address once, in its order."""
    hosts = [entry[4][0] for entry in found if isinstance(entry[4], tuple)]
    addresses = tuple(dict.fromkeys(ip_address(host) for host in hosts))
    if not addresses:
        raise LookupFailed("no address")
    return addresses


def _as_failure(host: str, error: Exception) -> LookupFailed:
    reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
    return LookupFailed(f"{host} does not resolve: {reason or type(error).__name__}")
