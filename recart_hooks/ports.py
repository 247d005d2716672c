"""Finds free TCP ports on the loopback address.

They lie outside the system's ephemeral range: an outgoing connection could take such a port while its server restarts.
"""

import random
import socket
from collections.abc import Iterable

LOOPBACK = "127.0.0.1"
RANGE = range(20_000, 30_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port: nothing answers there, and it can be bound."""
    with socket.socket() as client:
        client.settimeout(0.5)
        if client.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(preferred: Iterable[int] = ()) -> int:
    """The first of `preferred` that is free, else any free one."""
    for port in preferred:
        if is_free(port):
            return port
    while not is_free(port := random.choice(RANGE)):  # noqa: S311 - nothing secret
        pass
    return port
