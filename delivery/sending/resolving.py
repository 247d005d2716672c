"""Looks up host names within a bounded time.

`getaddrinfo` may take long (half a minute if a name server is dead) and cannot be stopped, so it runs in a thread of
its own, and the caller waits no longer than its timeout. Simultaneous lookups of one name share a thread, so a dead
name server occupies one thread for each name, not one for each attempt.

The number of threads is limited, and a dead DNS provider has many names: names whose last lookup failed or was slow
occupy at most half of the threads. Results are only used again while no thread is free.
"""

import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import islice

from partners.addresses import Address

MAX_LOOKUPS = 2048
"""Twice a worker's default concurrency, because lookups of dead names go on after their attempts have ended."""
MOST_ADDRESSES = 16
"""Of one name; more are not tried. Four thousand that refuse a connection took 0.6 s of the processor."""
_SLOW_S = 5.0
_REMEMBERED = 10_000
_FORMER_S = 3600.0


class LookupFailed(OSError):  # noqa: N818 - says what happened
    """The name has no address, or none was found in time; `str()` is the reason."""


class NoRoomToLookUp(LookupFailed):
    """Too many names are being looked up; nothing is known about this one."""


Resolver = Callable[[str, float], tuple[Address, ...]]
"""Called with a host name and a timeout in seconds, by many threads at the same time. Returns the name's addresses,
best first, at least one; raises LookupFailed."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The addresses of a name when it was last found, empty if it never was."""

    addresses: tuple[Address, ...]
    at: float
    is_good: bool
    """Whether the last lookup succeeded and was not slow."""


class SystemResolver:
    """Asks the operating system, /etc/hosts included."""

    def __init__(
        self,
        getaddrinfo: Callable[..., Sequence[tuple[object, ...]]] = socket.getaddrinfo,
        max_lookups: int = MAX_LOOKUPS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._getaddrinfo = getaddrinfo
        self._max_lookups = max_lookups
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, Future[tuple[Address, ...]]] = {}
        self._found: OrderedDict[str, _Found] = OrderedDict()

    def __call__(self, host: str, timeout_s: float) -> tuple[Address, ...]:
        """If no thread is free, returns the addresses found in the last hour, or raises NoRoomToLookUp."""
        try:
            lookup = self._join(host)
        except NoRoomToLookUp:
            found = self._found.get(host)
            if found is None or not found.addresses or self._clock() - found.at > _FORMER_S:
                raise
            return found.addresses
        try:
            return lookup.result(timeout=max(timeout_s, 0.0))
        except FutureTimeout:
            self._doubt(host)
            raise LookupFailed(f"looking up {host} took longer than {timeout_s:.3g} s") from None

    def _join(self, host: str) -> Future[tuple[Address, ...]]:
        """The running lookup of this name, or a new one."""
        with self._lock:
            lookup = self._running.get(host)
            if lookup is not None:
                return lookup
            if not self._has_room(host):
                raise NoRoomToLookUp(f"{len(self._running)} names are being looked up already")
            lookup = self._running[host] = Future()
        try:
            threading.Thread(target=self._look_up, args=(host, lookup), name="lookup", daemon=True).start()
        except RuntimeError as error:  # no more threads: nobody would ever end this lookup
            self._leave(host)
            full = NoRoomToLookUp(str(error))
            lookup.set_exception(full)
            raise full from None
        return lookup

    def _has_room(self, host: str) -> bool:
        if len(self._running) >= self._max_lookups:
            return False
        return not self._is_bad(host) or sum(map(self._is_bad, self._running)) < self._max_lookups // 2

    def _is_bad(self, host: str) -> bool:
        found = self._found.get(host)
        return found is not None and not found.is_good

    def _doubt(self, host: str) -> None:
        found = self._found.get(host) or _Found((), self._clock(), is_good=False)
        self._remember(host, replace(found, is_good=False))

    def _remember(self, host: str, found: _Found) -> None:
        with self._lock:
            self._found[host] = found
            self._found.move_to_end(host)
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)

    def _look_up(self, host: str, lookup: Future[tuple[Address, ...]]) -> None:
        started = self._clock()
        try:
            found = self._getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
            result = _addresses(found)
        except Exception as error:  # of any kind: the waiting attempts must get it
            self._doubt(host)
            self._leave(host)
            lookup.set_exception(_as_failure(host, error))
        else:
            now = self._clock()
            self._remember(host, _Found(result, now, is_good=now - started < _SLOW_S))
            self._leave(host)
            lookup.set_result(result)

    def _leave(self, host: str) -> None:
        with self._lock:
            del self._running[host]


def _addresses(found: Sequence[tuple[object, ...]]) -> tuple[Address, ...]:
    """The first different addresses in getaddrinfo's result, in its order."""
    hosts = dict.fromkeys(entry[4][0] for entry in found if isinstance(entry[4], tuple))
    addresses = tuple(ip_address(host) for host in islice(hosts, MOST_ADDRESSES))
    if not addresses:
        raise LookupFailed("no address")
    return addresses


def _as_failure(host: str, error: Exception) -> LookupFailed:
    reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
    return LookupFailed(f"{host} does not resolve: {reason or type(error).__name__}")
