"""Keeps the leases of one consumer alive from a thread of its own, so that a busy event loop does not look dead.

Each beat also gives back the leases of workers that are silent for too long, tells the server what was settled while no
connection of the consumer's was there to do so, and looks at some more keys for lists that others have filled.
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
    """A worker that is silent for `dead_after_s` is dead. All workers of a server need the same."""

    dead_after_s: float

    @property
    def beat_s(self) -> float:
        return self.dead_after_s / 5

    @property
    def gap_s(self) -> float:
        """When nobody at all beat for so long, it was the server or the clock that was away."""
        return self.dead_after_s * 0.6

    @property
    def max_answer_age_s(self) -> float:
        return self.dead_after_s / 2


class Heart:
    """`start` it, and `stop` or `retire` it in the end; then it leaves the server's list of workers."""

    def __init__(self, leases: Leases, pace: Pace) -> None:
        self.leases = leases
        self._pace = pace
        self._wanted = threading.Event()
        self._is_retiring = False
        self._is_stopped = False
        self._beats = 0
        self._looked_to = 0
        self._thread = threading.Thread(target=self._run, name="fair-heart", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """There is something to settle, and nobody else to do it."""
        self._wanted.set()

    def retire(self) -> None:
        """Leaves as soon as everything held is settled. `start` is not possible again."""
        self._is_retiring = True
        self._wanted.set()

    def stop(self) -> None:
        """Leaves at once, at the end of the process: what is held goes back. Raises nothing."""
        self._is_stopped = True
        self._wanted.set()
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
            except redis.RedisError as error:  # the next beat may get through
                logger.debug("no beat: %s", error)
            self._wanted.wait(self._pace.beat_s)
            self._wanted.clear()

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
        """What a producer without this broker put into a list that was empty has no place in line yet."""
        client, naming = self.leases.scripts.client, self.leases.scripts.naming
        self._looked_to, found = client.scan(
            self._looked_to, f"{naming.list(naming.prefix)}*", KEYS_A_BEAT, _type="list"
        )
        if found:
            names = (bytes_to_str(name).removeprefix(naming.global_prefix) for name in found)
            self.leases.scripts.run("adopt", *names)

    def _leave(self) -> None:
        self.leases.scripts.run("leave", self.leases.worker)
