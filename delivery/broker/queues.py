"""Fair queues for an application: publishing, limits, statistics, purging."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from kombu.utils.encoding import bytes_to_str

from delivery.broker import limits as limit
from delivery.broker.envelope import FairMessage, encode
from delivery.broker.errors import InvalidMessage
from delivery.broker.heart import DEAD_AFTER_S
from delivery.broker.limits import QueueLimits
from delivery.broker.naming import PREFIX, Naming
from delivery.broker.scripts import Scripts

CHUNK = 500
"""Messages or queues in one script: while it runs, the server does nothing else."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Numbers of messages: `ready` ones, `delayed` ones that are not due yet, and those `in_flight`, leased to workers.

    `tokens` is how many may start at once (None: no rate).
    """

    ready: int
    delayed: int
    in_flight: int
    tokens: float | None = None
    paused_until: float | None = None


class FairQueues:
    """Every method may raise redis.RedisError. Thread-safe."""

    def __init__(self, client: redis.Redis, prefix: str = PREFIX, global_prefix: str = "") -> None:
        self.client = client
        self.naming = Naming(prefix, global_prefix)
        self.scripts = Scripts(client, self.naming)

    def check(self) -> None:
        """Raises unless messages can be published now. (PING also succeeds on a replica, or without free memory.)"""
        self.scripts.run("publish")

    # Messages

    def publish(self, messages: Sequence[FairMessage]) -> int:
        """Queues, in this order, the messages whose ids the broker does not hold. Returns how many it queued.

        One round trip for each 500. After an error some may be queued: publish all of them again.
        """
        now = time.time()
        return sum(self._publish(messages[start : start + CHUNK], now) for start in range(0, len(messages), CHUNK))

    def _publish(self, messages: Sequence[FairMessage], now: float) -> int:
        by_queue: dict[str, list[Any]] = defaultdict(list)
        for message in messages:
            # As a delay, because the publisher's clock may differ from the server's.
            delay_s = 0.0 if message.eta is None else max(0.0, message.eta - now)
            by_queue[message.queue] += (message.id, "first" if message.is_first else delay_s, encode(message))
        arguments: list[Any] = []
        for queue, of_queue in by_queue.items():
            if not self.naming.is_fair(queue):
                raise InvalidMessage(f"{queue!r} is no fair queue: its name must begin with {self.naming.prefix!r}")
            arguments += (queue, len(of_queue) // 3, *of_queue)
        return int(self.scripts.run("publish", *arguments))

    def postpone(self, queue: str, id: str, until: float) -> bool:
        """Ends a message's lease and delays it to `until` (Unix seconds). Settling that lease then has no effect.

        Returns False if the message is not leased.
        """
        return bool(self.scripts.run("postpone", queue, id, until - time.time()))

    def missing(self, queue: str, ids: Sequence[str]) -> list[str]:
        """The `ids` that are neither ready, nor delayed, nor leased."""
        if not ids:
            return []
        known = self.client.smismember(self.naming.key("known", queue), list(ids))
        return [id_ for id_, is_known in zip(ids, known, strict=True) if not is_known]

    def leased_by(self, queue: str, id: str) -> str | None:
        """The worker that has leased the message; None if it is not leased."""
        workers = list(self.workers())
        with self.client.pipeline(transaction=False) as pipeline:
            for worker in workers:
                pipeline.hexists(self.naming.key("leases", worker), f"{len(queue.encode())}:{queue}{id}")
            found = zip(workers, pipeline.execute(), strict=True)
        return next((worker for worker, is_leased in found if is_leased), None)

    def size(self, queue: str) -> int:
        """The number of messages in the queue: ready, delayed and leased."""
        return int(self.client.scard(self.naming.key("known", queue)))

    def purge(self, queue: str) -> int:
        """Drops ready and delayed messages; returns how many. Leased messages stay."""
        dropped, is_done = 0, False
        while not is_done:
            count, is_done = self.scripts.run("purge", queue)
            dropped += count
        return dropped

    # Limits

    def configure(
        self,
        queue: str,
        *,
        rate: str | float | None = None,
        max_in_flight: int | None = None,
        paused_until: float | None = None,
        burst: float | None = None,
    ) -> None:
        """Sets all limits of a queue; they apply at once. Raises InvalidRate."""
        self.configure_many([QueueLimits(queue, rate, max_in_flight, paused_until, burst)])

    def configure_many(self, limits: Iterable[QueueLimits]) -> None:
        """Does nothing where the limits are as they were. Raises InvalidRate."""
        self._configure([limit.arguments(one) for one in limits])

    def limits(self, queue: str) -> QueueLimits:
        """The limits as they are set, with the rate in messages a second."""
        packed = self.client.hget(self.naming.key("limits"), queue)
        return limit.unpacked(queue, None if packed is None else bytes_to_str(packed))

    def all_limits(self) -> Mapping[str, QueueLimits]:
        """The limits of every queue that has any, by its name, with rates in messages a second."""
        found = {bytes_to_str(k): bytes_to_str(v) for k, v in self.client.hgetall(self.naming.key("limits")).items()}
        return {queue: limit.unpacked(queue, packed) for queue, packed in found.items()}

    def pause(self, queue: str, until: float = math.inf) -> None:
        """No message of the queue is leased before `until` (Unix seconds). It still accepts messages."""
        self.pause_all({queue: until})

    def pause_all(self, untils: Mapping[str, float]) -> None:
        """Like `pause`, for many queues, each until its own time."""
        keep = (limit.KEEP,) * 3
        self._configure([(queue, *keep, limit.number(until)) for queue, until in untils.items()])

    def resume(self, queue: str) -> None:
        self._configure([(queue, limit.KEEP, limit.KEEP, limit.KEEP, limit.NONE)])

    def _configure(self, rows: Sequence[tuple[str, ...]]) -> None:
        for start in range(0, len(rows), CHUNK):
            self.scripts.run("configure", *(value for row in rows[start : start + CHUNK] for value in row))

    # Statistics

    def names(self) -> list[str]:
        """The queues that hold something or have limits, sorted."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.zrange(self.naming.key("due"), 0, -1)
            pipeline.hkeys(self.naming.key("counts"))
            pipeline.hkeys(self.naming.key("limits"))
            return sorted({bytes_to_str(name) for names in pipeline.execute() for name in names})

    def stats(self, queues: Iterable[str] | None = None) -> dict[str, QueueStats]:
        """The statistics of these queues (None: of all that `names` returns)."""
        names = self.names() if queues is None else list(queues)
        rows = (row for start in range(0, len(names), CHUNK) for row in self._stats(names[start : start + CHUNK]))
        return dict(zip(names, rows, strict=True))

    def _stats(self, queues: Sequence[str]) -> Iterator[QueueStats]:
        for ready, delayed, in_flight, *times in self.scripts.run("stats", *queues):
            yield QueueStats(ready, delayed, in_flight, *(float(one) if one else None for one in times))

    def workers(self) -> Mapping[str, float]:
        """The workers, and when each had its last heartbeat (Unix seconds). A dead one stays until another worker's
        heartbeat removes it."""
        found: list[Any] = self.client.zrange(self.naming.key("workers"), 0, -1, withscores=True)
        return {bytes_to_str(name): at for name, at in found}

    def living_workers(self, dead_after_s: float = DEAD_AFTER_S) -> int:
        """How many workers had a heartbeat in the last `dead_after_s`."""
        now_s, _ = self.client.time()
        return int(self.client.zcount(self.naming.key("workers"), now_s - dead_after_s, "+inf"))

    # Detecting a wiped server

    def was_wiped(self) -> bool:
        """Whether the marker is missing that `mark` sets."""
        return not self.client.exists(self.naming.key("epoch"))

    def mark(self) -> None:
        """Sets the marker. Call it after everything has been published again."""
        self.client.set(self.naming.key("epoch"), 1)
