"""Frees a thread that a server keeps busy inside OpenSSL.

OpenSSL reads on for as long as records without content come: HelloRequests in a handshake, KeyUpdates after it, also
while a connection is closed. If they come faster than it reads them, one call lasts for ever, and nobody looks at a
deadline meanwhile. So a second thread looks at the processor time of the call in progress. If it is too much, and the
call reads and reads, it ends what comes at that socket and at the others of its owner, and OpenSSL returns.

A call of libcurl for one socket may read from others too: it also starts exchanges that are due, and looks at idle
connections. So the socket is found by what is read from it.

Only Linux tells the processor time of another thread. Elsewhere nothing is guarded. While no connection has TLS, the
second thread sleeps: each look takes the interpreter's lock from the first.
"""

import atexit
import fcntl
import itertools
import logging
import os
import socket
import sys
import termios
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from delivery.sending.arrivals import received_bytes

logger = logging.getLogger(__name__)

LOOK_EACH_S = 0.03
LOOK_AGAIN_S = 0.01
"""While a call is in progress."""
LONGEST_CALL_S = 0.01
"""The processor time that a call may use between two looks. A handshake takes 2 to 5 ms."""
READ_IN_VAIN_BYTES = 16 * 1024
"""What a call that takes so long must read meanwhile to be freed: more than a handshake has, also with a long chain of
certificates."""
_LOOKS_BEFORE_REST = 100
"""Then it looks whether any connection has TLS."""


@dataclass(frozen=True, slots=True)
class _Socket:
    inode: int
    """Tells whether its descriptor is still the same socket."""
    owner: str
    has_tls: bool


class Guard:
    """Guards the calls of the thread that creates it, which alone calls `owns`, `begins` and `ends`."""

    def __init__(self) -> None:
        self._call: object | None = None
        """The call in progress: a new object for each."""
        self._busy: deque[str] = deque()
        """The owners of sockets that had to be silenced since the last call ended."""
        self._sockets: dict[int, _Socket] = {}
        """By descriptor."""
        self._ended = _ended_socket()
        """Takes the place of a socket that is silenced."""
        self.rests = True
        """Whether its thread sleeps until a connection has TLS."""
        self._wakes = threading.Event()
        self._is_over = False
        atexit.register(self.close)
        if sys.platform == "linux":
            clock = time.pthread_getcpuclockid(threading.get_ident())
            threading.Thread(target=self._run, args=(clock,), name="guard", daemon=True).start()

    def owns(self, descriptor: int, owner: str, *, has_tls: bool) -> None:
        """Notes whose new socket this is."""
        self._sockets[descriptor] = _Socket(os.fstat(descriptor).st_ino, owner, has_tls)
        if has_tls and self.rests:
            self.rests = False
            self._wakes.set()

    def owner_of(self, descriptor: int) -> str:
        known = self._sockets.get(descriptor)
        return known.owner if known else ""

    def begins(self) -> None:
        """A call begins that may read."""
        self._call = object()

    def ends(self) -> Sequence[str]:
        """The call has ended. Returns the owners whose sockets were silenced meanwhile."""
        self._call = None
        if not self._busy:
            return ()
        return [self._busy.popleft() for _ in range(len(self._busy))]

    def silence(self, owner: str) -> None:
        """Ends all that comes at the open sockets of this owner."""
        self._silence([descriptor for descriptor in self._open() if self.owner_of(descriptor) == owner])

    def close(self) -> None:
        """Silences all sockets, so that closing their connections takes no time. Called from any thread, and when the
        process ends: the interpreter closes what is open then, with no thread left to guard it."""
        atexit.unregister(self.close)
        self._is_over = True
        self._wakes.set()
        self._silence(self._open())
        self._ended.close()

    def _silence(self, descriptors: Sequence[int]) -> None:
        """If one is closed at this very moment, its number may be another connection's already, which then breaks."""
        for descriptor in descriptors:
            os.dup2(self._ended.fileno(), descriptor, inheritable=False)

    def _run(self, clock: int) -> None:
        seen: object | None = None
        seen_at_s = 0.0
        before: dict[int, int] = {}
        for looks in itertools.count():
            if looks % _LOOKS_BEFORE_REST == 0:
                self._rest()
            if self._is_over:
                break
            call = self._call
            if call is not None:
                try:
                    used_s = time.clock_gettime(clock)
                    if call is not seen:
                        seen, seen_at_s, before = call, used_s, {}
                    elif used_s - seen_at_s > LONGEST_CALL_S:
                        self._free(before)
                except OSError:  # the guarded thread has just ended, or a socket was closed
                    pass
                except Exception:
                    logger.exception("the guard failed")
            time.sleep(LOOK_EACH_S if call is None else LOOK_AGAIN_S)

    def _rest(self) -> None:
        """Sleeps while no connection has TLS."""
        self.rests = True  # first, so that `owns` wakes it if there is one from now on
        if not any(self._sockets[descriptor].has_tls for descriptor in self._open()):
            self._wakes.wait()
        self.rests = False
        self._wakes.clear()

    def _free(self, before: dict[int, int]) -> None:
        """Silences the owner from whose sockets most was read.

        `before` keeps the bytes that had been read from each socket at the first try. A call may also take long for
        itself, as when libcurl loads the authorities.
        """
        read = {descriptor: _read_bytes(descriptor) for descriptor in self._open()}
        if not before:
            before.update(read)
        lately: Counter[str] = Counter()
        for descriptor, count in read.items():
            lately[self.owner_of(descriptor)] += count - before.get(descriptor, count)
        for owner, count in lately.most_common(1):
            if count >= READ_IN_VAIN_BYTES:
                self._busy.append(owner)  # first: the call ends as soon as its socket is silent
                self.silence(owner)
                before.clear()

    def _open(self) -> list[int]:
        """The sockets that are still open, and are not silenced."""
        return [descriptor for descriptor, known in list(self._sockets.items()) if _is(descriptor, known.inode)]


def _ended_socket() -> socket.socket:
    ended, other_end = socket.socketpair()
    other_end.close()
    ended.setblocking(False)
    return ended


def _read_bytes(descriptor: int) -> int:
    waiting = bytearray(4)
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return received_bytes(descriptor) - int.from_bytes(waiting, sys.byteorder)


def _is(descriptor: int, inode: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:
        return False
