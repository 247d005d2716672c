"""A worker's heartbeat. It has its own thread, so that a worker with a busy event loop does not look dead.

Each beat also returns the leases of dead workers, reports settlements for which the worker had no connection, and scans
some more keys for lists that other producers have filled.
"""

import logging
import threading
from dataclasses import dataclass

import redis
from kombu.utils.encoding import bytes_to_str

from delivery.broker.leases import Leases

DEAD_AFTER_S = 10.0
KEYS_A_BEAT = 1000

logger = logging.getLogger("fair_broker")


@dataclass(frozen=True, slots=True)
class Pace:
    """A worker without a heartbeat for `dead_after_s` is dead. All workers of a server need the same value."""

    dead_after_s: float

    @property
    def beat_s(self) -> float:
        return self.dead_after_s / 5

    @property
    def gap_s(self) -> float:
        """If no worker's heart beat for this long, the server was away or its clock jumped."""
        return self.dead_after_s * 0.6

    @property
    def max_answer_age_s(self) -> float:
        return self.dead_after_s / 2


class Heart:
    """Call `start`, and in the end `stop` or `retire`: the worker then leaves the broker."""

    def __init__(self, leases: Leases, pace: Pace) -> None:
        self.leases = leases
        self._pace = pace
        self._wake = threading.Event()
        self._is_retiring = False
        self._is_stopped = False
        self._beats = 0
        self._scan_cursor = 0
        self._thread = threading.Thread(target=self._run, name="fair-heart", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Beats now: there are settlements, and no connection to report them on."""
        self._wake.set()

    def retire(self) -> None:
        """Leaves as soon as all held messages are settled. Cannot be started again."""
        self._is_retiring = True
        self._wake.set()

    def stop(self) -> None:
        """Leaves at once, at the end of the process; its leases go back. Raises nothing."""
        self._is_stopped = True
        self._wake.set()
        self._thread.join(timeout=self._pace.beat_s)
        try:
            self.leases.flush()
            self._leave()
        except redis.RedisError as error:
            logger.warning(
                "could not leave the broker in order: others take over in %s s: %s", self._pace.dead_after_s, error
            )

    def _run(self) -> None:
        while not self._is_stopped:
            try:
                self.beat()
                if self._is_retiring and not self.leases.held:
                    self._leave()
                    return
            except redis.RedisError as error:  # the next beat may succeed
                logger.debug("no beat: %s", error)
            self._wake.wait(self._pace.beat_s)
            self._wake.clear()

    def beat(self) -> None:
        """Raises redis.RedisError."""
        leases = self.leases
        was_known, *dead = leases.scripts.run("beat", leases.worker, self._pace.dead_after_s, self._pace.gap_s)
        if not was_known and self._beats:
            logger.warning("the broker did not know this worker any more: others may do its work again")
        self._beats += 1
        if dead:
            *names, count = dead
            logger.warning(
                "gave back the messages of dead workers",
                extra={"workers": [bytes_to_str(name) for name in names], "messages": count},
            )
        leases.flush()
        self._adopt()

    def _adopt(self) -> None:
        """Puts lists in line that a producer on another transport has filled. Scans some more keys with each beat."""
        client, naming = self.leases.scripts.client, self.leases.scripts.naming
        self._scan_cursor, found = client.scan(
            self._scan_cursor, f"{naming.list(naming.prefix)}*", KEYS_A_BEAT, _type="list"
        )
        if found:
            names = (bytes_to_str(name).removeprefix(naming.global_prefix) for name in found)
            self.leases.scripts.run("adopt", *names)

    def _leave(self) -> None:
        self.leases.scripts.run("leave", self.leases.worker)
