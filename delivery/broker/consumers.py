"""The consumers of this process: which leases belong to a new connection, and what happens to them at the end."""

import atexit
import os
import threading
from collections.abc import Callable

from delivery.broker.heart import Heart, Pace
from delivery.broker.leases import Leases
from delivery.broker.scripts import Scripts


class Consumers:
    """One per process. A consumer that connects again gets its leases again."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._hearts: dict[Leases, Heart] = {}
        self._waiting: dict[str, list[Leases]] = {}
        self._lock = threading.Lock()

    def claim(self, server: str, make_scripts: Callable[[], Scripts], pace: Pace) -> Leases:
        """Leases for a consumer of this server: those that lost their connection, else new ones."""
        with self._lock:
            self._forget_what_was_forked()
            if waiting := self._waiting.get(server):
                return waiting.pop()
            leases = Leases(make_scripts(), pace.max_answer_age_s)
            heart = self._hearts[leases] = Heart(leases, pace)
            leases.set_reporter(None, default=heart.nudge)
            heart.start()
            return leases

    def leave_waiting(self, server: str, leases: Leases) -> None:
        """The connection is gone, its consumer comes back or the process ends: running tasks keep their leases."""
        with self._lock:
            if leases in self._hearts:
                self._waiting.setdefault(server, []).append(leases)

    def retire(self, leases: Leases) -> None:
        """The consumer stopped for good: what it did not settle goes back."""
        with self._lock:
            if heart := self._hearts.pop(leases, None):
                leases.give_back(leases.held)
                heart.retire()

    def close(self) -> None:
        """At the end of the process."""
        if self._pid != os.getpid():
            return
        for heart in list(self._hearts.values()):
            heart.stop()
        self._hearts.clear()

    def _forget_what_was_forked(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._hearts, self._waiting = {}, {}


consumers = Consumers()
atexit.register(consumers.close)
