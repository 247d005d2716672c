"""What an application does with fair queues: publish, set limits, ask how they are, tidy up."""

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
from delivery.broker.limits import QueueLimits
from delivery.broker.naming import PREFIX, Naming
from delivery.broker.scripts import Scripts

CHUNK = 500
"""As much as one script takes at a time: while it runs, the server does nothing else."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """`ready` may be sent when the limits allow, `delayed` waits for its time, `in_flight` is leased to workers.

    `tokens` may be sent at once (None: no rate). `oldest_due_at`: since when the next message waits, or until when;
    None when nothing does.
    """

    ready: int
    delayed: int
    in_flight: int
    tokens: float | None = None
    paused_until: float | None = None
    oldest_due_at: float | None = None


class FairQueues:
    """Every method may raise redis.RedisError. Thread-safe."""

    def __init__(self, client: redis.Redis, prefix: str = PREFIX, global_prefix: str = "") -> None:
        self.client = client
        self.naming = Naming(prefix, global_prefix)
        self.scripts = Scripts(client, self.naming)

    def check(self) -> None:
        """Raises unless messages can be queued now: a server without memory, or a replica, answers a PING."""
        self.scripts.run("publish")

    # Messages

    def publish(self, messages: Sequence[FairMessage]) -> int:
        """Queues those that the broker does not hold, in this order; returns how many those were.

        One round trip for each 500. When it fails, some may be queued: publish all of them again.
        """
        now = time.time()
        return sum(self._publish(messages[start : start + CHUNK], now) for start in range(0, len(messages), CHUNK))

    def _publish(self, messages: Sequence[FairMessage], now: float) -> int:
        by_queue: dict[str, list[Any]] = defaultdict(list)
        for message in messages:
            due_at = now if message.eta is None else message.eta
            # As a delay: the publisher's clock need not agree with the server's.
            by_queue[message.queue] += (message.id, max(0.0, due_at - now), encode(message, due_at))
        arguments: list[Any] = []
        for queue, of_queue in by_queue.items():
            if not self.naming.is_fair(queue):
                raise InvalidMessage(f"{queue!r} is no fair queue: its name must begin with {self.naming.prefix!r}")
            arguments += (queue, len(of_queue) // 3, *of_queue)
        return int(self.scripts.run("publish", *arguments))

    def postpone(self, queue: str, id: str, until: float) -> bool:
        """Takes a message from its worker, to come again at `until` (Unix seconds); its acknowledgement is void then.

        False when nobody holds it.
        """
        return bool(self.scripts.run("postpone", queue, id, until - time.time()))

    def missing(self, queue: str, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that are neither ready, nor delayed, nor leased."""
        if not ids:
            return []
        known = self.client.smismember(self.naming.key("known", queue), list(ids))
        return [id_ for id_, is_known in zip(ids, known, strict=True) if not is_known]

    def leased_by(self, queue: str, id: str) -> str | None:
        """The worker that holds the message; None when nobody does."""
        lease: Any = self.client.hget(self.naming.key("leases", queue), id)
        return None if lease is None else bytes_to_str(lease).partition(" ")[0]

    def size(self, queue: str) -> int:
        """All that the broker holds of the queue: ready, delayed and leased."""
        return int(self.client.scard(self.naming.key("known", queue)))

    def purge(self, queue: str) -> int:
        """Drops what is ready or delayed; returns how many. Running tasks are not touched."""
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
        """Sets all limits of a queue; they act at once. Raises InvalidRate."""
        self.configure_many([QueueLimits(queue, rate, max_in_flight, paused_until, burst)])

    def configure_many(self, limits: Iterable[QueueLimits]) -> None:
        """Does nothing where the limits are as they were. Raises InvalidRate."""
        self._configure([limit.arguments(one) for one in limits])

    def limits(self, queue: str) -> QueueLimits:
        """As they are set; the rate in messages a second."""
        packed = self.client.hget(self.naming.key("limits"), queue)
        return limit.unpacked(queue, None if packed is None else bytes_to_str(packed))

    def all_limits(self) -> Mapping[str, QueueLimits]:
        """Of every queue that has any, by its name; the rates in messages a second."""
        found = {bytes_to_str(k): bytes_to_str(v) for k, v in self.client.hgetall(self.naming.key("limits")).items()}
        return {queue: limit.unpacked(queue, packed) for queue, packed in found.items()}

    def pause(self, queue: str, until: float = math.inf) -> None:
        """Nothing of the queue is sent before `until` (Unix seconds); it keeps filling. What is in flight goes on."""
        self.pause_all({queue: until})

    def pause_all(self, untils: Mapping[str, float]) -> None:
        """The same for many queues, each until its own time."""
        keep = (limit.KEEP,) * 3
        self._configure([(queue, *keep, limit.number(until)) for queue, until in untils.items()])

    def resume(self, queue: str) -> None:
        self._configure([(queue, limit.KEEP, limit.KEEP, limit.KEEP, limit.NONE)])

    def _configure(self, rows: Sequence[tuple[str, ...]]) -> None:
        for start in range(0, len(rows), CHUNK):
            self.scripts.run("configure", *(value for row in rows[start : start + CHUNK] for value in row))

    # How it is

    def names(self) -> list[str]:
        """The queues that hold something or have limits, sorted."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.zrange(self.naming.key("due"), 0, -1)
            pipeline.smembers(self.naming.key("leased"))
            pipeline.hkeys(self.naming.key("limits"))
            return sorted({bytes_to_str(name) for names in pipeline.execute() for name in names})

    def stats(self, queues: Iterable[str] | None = None) -> dict[str, QueueStats]:
        """How these queues are (None: all of `names`)."""
        asked = self.names() if queues is None else list(queues)
        rows = (row for start in range(0, len(asked), CHUNK) for row in self._stats(asked[start : start + CHUNK]))
        return dict(zip(asked, rows, strict=True))

    def _stats(self, queues: Sequence[str]) -> Iterator[QueueStats]:
        for ready, delayed, in_flight, *times in self.scripts.run("stats", *queues):
            yield QueueStats(ready, delayed, in_flight, *(float(one) if one else None for one in times))

    def workers(self) -> Mapping[str, float]:
        """The worker processes that fetch, and when each gave its last sign of life (Unix seconds)."""
        found: list[Any] = self.client.zrange(self.naming.key("workers"), 0, -1, withscores=True)
        return {bytes_to_str(name): at for name, at in found}

    # Noticing that the server lost its memory

    def was_wiped(self) -> bool:
        """Whether what `mark` left is gone, or nobody ever marked."""
        return not self.client.exists(self.naming.key("epoch"))

    def mark(self) -> None:
        """Call it when everything has been published again."""
        self.client.set(self.naming.key("epoch"), 1)
