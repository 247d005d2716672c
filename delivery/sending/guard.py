"""Frees a thread that a server keeps busy inside OpenSSL.

OpenSSL reads on for as long as records without content come: HelloRequests in a handshake, KeyUpdates after it, also
while a connection is closed. If they come faster than it reads them, one call lasts for ever, and nobody looks at a
deadline meanwhile. So a second thread looks at the processor time of the call in progress. If it is too much, and the
call reads and reads, a socket at which nothing comes takes the place of the server's, and OpenSSL returns.

Only Linux tells the processor time of another thread. Elsewhere nothing is guarded.
"""

import fcntl
import os
import socket
import sys
import termios
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from delivery.sending.arrivals import received_bytes

ANY = -1
"""In place of a socket: the call may read from any of them."""
LOOK_EACH_S = 0.02
LONGEST_CALL_S = 0.01
"""The processor time that a call may use between two looks. A handshake takes 2 to 5 ms."""
READ_IN_VAIN_BYTES = 8 * 1024
"""What a call that takes so long must read meanwhile to be freed: more than a handshake has."""
_LOOKS_BEFORE_REST = 50


@dataclass(frozen=True, slots=True)
class _Replaced:
    """What is known of a server's socket that another one took the place of."""

    call: tuple[int]
    owner: str
    other_end: socket.socket
    """Of the socket that took its place. Nothing is sent from it; when it is closed, OpenSSL reads an end."""


class Guard:
    """Guards the calls of the thread that creates it, which alone calls `owns`, `begins` and `ends`."""

    def __init__(self) -> None:
        self._call: tuple[int] | None = None
        """The socket of the call in progress. Each call is an object of its own."""
        self._replaced: _Replaced | None = None
        self._owners: dict[int, tuple[int, str]] = {}
        """By descriptor, with the inode, which tells whether it is still the same socket."""
        self.rests = False
        """Whether its thread sleeps until the next call begins."""
        self._wakes = threading.Event()
        self._is_over = False
        if sys.platform == "linux":
            clock = time.pthread_getcpuclockid(threading.get_ident())
            threading.Thread(target=self._run, args=(clock,), name="guard", daemon=True).start()

    def owns(self, descriptor: int, owner: str) -> None:
        """Notes whose new socket this is."""
        self._owners[descriptor] = (os.fstat(descriptor).st_ino, owner)

    def owner_of(self, descriptor: int) -> str:
        return self._owners.get(descriptor, (0, ""))[1]

    def begins(self, descriptor: int) -> None:
        """A call begins that reads from this socket, or from ANY."""
        self._call = (descriptor,)
        if self.rests:
            self.rests = False
            self._wakes.set()

    def ends(self) -> str | None:
        """The call has ended. Returns the owner of the socket that was replaced meanwhile, if one was."""
        call, self._call = self._call, None
        replaced, self._replaced = self._replaced, None
        if replaced is None:
            return None
        replaced.other_end.close()
        return replaced.owner if replaced.call is call else None

    def silence(self, owner: str) -> None:
        """Ends all that comes at the open sockets of this owner."""
        for descriptor in self._open():
            if self.owner_of(descriptor) == owner:
                _put_ended_socket(descriptor)

    def close(self) -> None:
        """Silences all sockets, so that closing their connections takes no time. Called from any thread."""
        self._is_over = True
        self._wakes.set()
        for descriptor in self._open():
            _put_ended_socket(descriptor)

    def _run(self, clock: int) -> None:
        seen: tuple[int] | None = None
        seen_at_s = 0.0
        before: dict[int, int] = {}
        idle = 0
        while not self._is_over:
            call = self._call
            idle = idle + 1 if call is None else 0
            if idle > _LOOKS_BEFORE_REST:
                self._rest()
            elif call is not None:
                with suppress(OSError):  # the guarded thread has just ended, or no descriptor is left: it tries again
                    used_s = time.clock_gettime(clock)
                    if call is not seen:
                        seen, seen_at_s, before = call, used_s, {}
                    elif used_s - seen_at_s > LONGEST_CALL_S:
                        self._free(call, before)
            time.sleep(LOOK_EACH_S)

    def _rest(self) -> None:
        self.rests = True
        if self._call is None:  # `begins` looks at `rests` after it has set `_call`
            self._wakes.wait()
        self._wakes.clear()

    def _free(self, call: tuple[int], before: dict[int, int]) -> None:
        """Replaces the socket from which the call reads and reads; if that was not enough, closes the other end.

        `before` keeps the bytes that had been read from each socket at the first try. A call may also take long for
        itself, as when libcurl loads the authorities.

        If the call ends at this very moment, its descriptor may be another connection's already. That connection then
        breaks.
        """
        if self._replaced is not None:
            self._replaced.other_end.close()
            return
        read = {descriptor: _read_bytes(descriptor) for descriptor in self._open() if call[0] in {ANY, descriptor}}
        if not before:
            before.update(read)
        lately = {descriptor: count - before.get(descriptor, count) for descriptor, count in read.items()}
        most = max(lately, key=lately.__getitem__, default=ANY)
        if lately.get(most, 0) < READ_IN_VAIN_BYTES:
            return
        silent, other_end = socket.socketpair()
        self._replaced = _Replaced(call, self.owner_of(most), other_end)
        _put(silent, most)
        if self._call is not call:
            other_end.close()

    def _open(self) -> list[int]:
        """The sockets that are still open."""
        return [descriptor for descriptor, (inode, _) in list(self._owners.items()) if _is(descriptor, inode)]


def _put_ended_socket(descriptor: int) -> None:
    silent, other_end = socket.socketpair()
    other_end.close()
    _put(silent, descriptor)


def _put(silent: socket.socket, descriptor: int) -> None:
    silent.setblocking(False)
    with silent:
        os.dup2(silent.fileno(), descriptor, inheritable=False)


def _read_bytes(descriptor: int) -> int:
    waiting = bytearray(4)
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return received_bytes(descriptor) - int.from_bytes(waiting, sys.byteorder)


def _is(descriptor: int, inode: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:
        return False
