"""A worker's bell: a list in the broker on which the worker blocks until a script pushes an element."""

from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from delivery.broker.connection import WorkerConnection

BELL_WAIT_S = 1
"""How long a worker waits if a ring was lost."""
_RING = """#!lua flags=allow-oom
redis.call('LPUSH', ARGV[1], '1')
return redis.call('PEXPIRE', ARGV[1], ARGV[2])
"""
"""A script, because a server without free memory refuses a plain LPUSH."""


class Bell:
    """The worker listens on `connection`. While it does, the server answers nothing there, so a request sent behind the
    bell waits for a ring. `on_ring` is called after a ring, and after `wait_s` without one."""

    def __init__(self, connection: WorkerConnection, key: str, wait_s: float, on_ring: Callable[[], None]) -> None:
        self.connection = connection
        self._key = key
        self._wait_s = min(BELL_WAIT_S, wait_s)
        self._on_ring = on_ring
        self._is_listening = self._is_ringing = False

    def listen(self) -> None:
        if not self._is_listening:
            self._is_listening, self._is_ringing = True, False
            self.connection.send(
                *("BRPOP", self._key, self._wait_s), on_reply=self._on_reply, on_lost=self._on_lost, wait_s=BELL_WAIT_S
            )

    def ring(self, on: WorkerConnection) -> None:
        """Rings the worker's own bell: the server answers the request behind it now, or later if the ring is lost."""
        if not self._is_ringing:
            self._is_ringing = True
            on.send("EVAL", _RING, 0, self._key, BELL_WAIT_S * 1000, on_reply=_ignore)

    def _on_reply(self, reply: Any) -> None:
        self._is_listening = False
        if isinstance(reply, ResponseError):
            self.connection.disconnect()
            raise reply
        self._on_ring()

    def _on_lost(self) -> None:
        self._is_listening = False


def _ignore(_: Any) -> None:
    pass
