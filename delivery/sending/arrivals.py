"""Counts what comes at sockets, by the kernel's count, because libcurl does not report the framing of chunks and TLS;
and the processor time that it costs."""

import socket
import struct
import sys

from delivery.sending.sockets import RAW_MAX_BYTES

_UNSEEN = 2
"""How often a socket is ready before its bytes are counted: enough for an ordinary answer, which so costs nothing."""
WORK_MAX_S = 0.03
"""A handshake takes 2 to 5 ms of the processor. A server may begin one again and again."""
_INFO = {"linux": (11, 128), "darwin": (0x106, 88)}
"""TCP_INFO or TCP_CONNECTION_INFO, and the offset of the received bytes in it. On other systems nothing is counted."""


class Arrivals:
    """The bytes that came at the sockets of one thread's exchanges, and the processor time spent on them."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._before: dict[int, int] = {}
        """The count of each socket at its first check: a kept connection has received other answers before."""
        self._spent_s: dict[int, float] = {}

    def is_unusual(self, descriptor: int) -> bool:
        """Whether this socket was ready so often that the rest must be called. To be called each time it is ready."""
        times = self._times[descriptor] = self._times.get(descriptor, 0) + 1
        return times > _UNSEEN

    def is_flood(self, descriptor: int) -> bool:
        """Whether more bytes came than an answer may have."""
        came = received_bytes(descriptor)
        return came - self._before.setdefault(descriptor, came) > RAW_MAX_BYTES

    def is_work(self, descriptor: int, seconds: float) -> bool:
        """Whether these seconds of the processor were too many for one exchange, with those before."""
        if descriptor not in self._before:
            return False  # the exchange has ended
        self._spent_s[descriptor] = self._spent_s.get(descriptor, 0.0) + seconds
        return self._spent_s[descriptor] > WORK_MAX_S

    def forget(self, descriptor: int) -> None:
        """To be called at the end of an exchange."""
        if self._times.pop(descriptor, 0) > _UNSEEN:
            self._before.pop(descriptor, None)
            self._spent_s.pop(descriptor, None)


def received_bytes(descriptor: int) -> int:
    """The bytes received since the socket was connected; 0 if the system does not count them."""
    if sys.platform not in _INFO:
        return 0
    option, place = _INFO[sys.platform]
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=descriptor)
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, option, 256)
        return int(struct.unpack_from("=Q", info, place)[0])
    except (OSError, struct.error):
        return 0
    finally:
        borrowed.detach()
