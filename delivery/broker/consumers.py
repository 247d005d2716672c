"""The consumers of this process: which leases a new connection continues, and what happens to them in the end."""

import atexit
import os
import threading
from collections.abc import Callable

from delivery.broker.heart import Heart, Pace
from delivery.broker.leases import Leases
from delivery.broker.scripts import Scripts


class Consumers:
    """One per process. A consumer that connects again continues with its leases."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._hearts: dict[Leases, Heart] = {}
        self._disconnected: dict[str, list[Leases]] = {}
        self._lock = threading.Lock()

    def claim(self, server: str, make_scripts: Callable[[], Scripts], pace: Pace) -> Leases:
        """Leases for a consumer of this server: some that lost their connection, else new ones."""
        with self._lock:
            self._reset_after_fork()
            if disconnected := self._disconnected.get(server):
                return disconnected.pop()
            leases = Leases(make_scripts(), pace.max_answer_age_s)
            heart = self._hearts[leases] = Heart(leases, pace)
            leases.set_reporter(None, default=heart.nudge)
            heart.start()
            return leases

    def disconnect(self, server: str, leases: Leases) -> None:
        """The connection is lost, or the process is ending: running tasks keep their leases."""
        with self._lock:
            if leases in self._hearts:
                self._disconnected.setdefault(server, []).append(leases)

    def retire(self, leases: Leases) -> None:
        """The consumer was cancelled: the messages that it did not settle go back."""
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

    def _reset_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._hearts, self._disconnected = {}, {}


consumers = Consumers()
atexit.register(consumers.close)
