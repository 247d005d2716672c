"""How much has come at a socket, as the kernel counts it: libcurl shows no framing, neither of chunks nor of TLS."""

import socket
import struct
import sys

from delivery.sending.sockets import RAW_MAX_BYTES

_UNSEEN = 2
"""So often a socket may be ready unseen, as with an ordinary answer; each time libcurl reads a megabyte at most."""
_INFO = {"linux": (11, 128), "darwin": (0x106, 88)}
"""TCP_INFO or TCP_CONNECTION_INFO, and where in it the bytes received are. Elsewhere nothing is counted."""


class Arrivals:
    """At the sockets of one thread's exchanges."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._before: dict[int, int] = {}
        """What had come before the first look: a kept connection has had other answers."""

    def is_flood(self, descriptor: int) -> bool:
        """Whether more has come than an answer may have. To be asked each time that the socket is ready."""
        times = self._times[descriptor] = self._times.get(descriptor, 0) + 1
        if times <= _UNSEEN:
            return False
        came = received_bytes(descriptor)
        return came - self._before.setdefault(descriptor, came) > RAW_MAX_BYTES

    def forget(self, descriptor: int) -> None:
        """At the end of an exchange."""
        if self._times.pop(descriptor, 0) > _UNSEEN:
            del self._before[descriptor]


def received_bytes(descriptor: int) -> int:
    """Since the socket was connected; 0 where the system does not say."""
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
