"""A worker's bell: a list in the broker. A script that has a message for a waiting worker pushes to its list."""

from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from delivery.broker.line import Line

BELL_WAIT_S = 1
"""A bell that was lost costs its worker so much."""
_RING = """#!lua flags=allow-oom
redis.call('LPUSH', ARGV[1], '1')
return redis.call('PEXPIRE', ARGV[1], ARGV[2])
"""
"""A server without memory refuses a plain LPUSH."""


class Bell:
    """A worker listens to it on a connection of its own, `line`: the server answers nothing there before it has rung,
    also not a request that was sent behind it. `rung` is called then, and after `wait_s` without a ring."""

    def __init__(self, line: Line, key: str, wait_s: float, rung: Callable[[], None]) -> None:
        self.line = line
        self._key = key
        self._wait_s = min(BELL_WAIT_S, wait_s)
        self._rung = rung
        self._is_listening = self._is_ringing = False

    def listen(self) -> None:
        if not self._is_listening:
            self._is_listening, self._is_ringing = True, False
            self.line.send(
                *("BRPOP", self._key, self._wait_s), then=self._heard, if_lost=self._not_heard, wait_s=BELL_WAIT_S
            )

    def ring(self, on: Line) -> None:
        """Has what was sent behind it answered now. If that gets lost, it waits as long as for any ring."""
        if not self._is_ringing:
            self._is_ringing = True
            on.send("EVAL", _RING, 0, self._key, BELL_WAIT_S * 1000, then=_ignore)

    def _heard(self, reply: Any) -> None:
        self._is_listening = False
        if isinstance(reply, ResponseError):
            self.line.lose()
            raise reply
        self._rung()

    def _not_heard(self) -> None:
        self._is_listening = False


def _ignore(_: Any) -> None:
    pass
