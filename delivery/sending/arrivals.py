"""Counts the bytes that come at sockets, by the kernel's count: libcurl does not report the framing of chunks and
TLS."""

import socket
import struct
import sys

from delivery.sending.sockets import RAW_MAX_BYTES

_UNSEEN = 2
"""How often a socket is ready before its bytes are counted: enough for an ordinary answer, which so costs nothing. Each
time libcurl reads at most a megabyte."""
_INFO = {"linux": (11, 128), "darwin": (0x106, 88)}
"""TCP_INFO or TCP_CONNECTION_INFO, and the offset of the received bytes in it. On other systems nothing is counted."""


class Arrivals:
    """The bytes that came at the sockets of one thread's exchanges."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._before: dict[int, int] = {}
        """The count of each socket at its first check: a kept connection has received other answers before."""

    def is_flood(self, descriptor: int) -> bool:
        """Whether more bytes came than an answer may have. To be called each time that the socket is ready."""
        times = self._times[descriptor] = self._times.get(descriptor, 0) + 1
        if times <= _UNSEEN:
            return False
        came = received_bytes(descriptor)
        return came - self._before.setdefault(descriptor, came) > RAW_MAX_BYTES

    def forget(self, descriptor: int) -> None:
        """To be called at the end of an exchange."""
        if self._times.pop(descriptor, 0) > _UNSEEN:
            del self._before[descriptor]


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
