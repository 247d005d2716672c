"""What an application does with partner queues: publish, set limits, ask how they are."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import redis
from celery.utils.time import rate as parse_rate

from delivery.broker import scripts

BURST_S = 0.25
"""A queue that was idle may send this much of its rate at once (at least one message)."""
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class FairMessage:
    """A Celery task for a partner queue. `id` is unique among the messages of its queue; `eta` in Unix seconds."""

    queue: str
    id: str
    task: str
    args: Sequence[Any]
    eta: float | None = None
    argsrepr: str = ""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """`rate` in Celery's grammar (50/s, 600/m, 1000/h; None: none); `paused_until` in Unix seconds (inf: for good)."""

    queue: str
    rate: str | None = None
    max_in_flight: int | None = None
    paused_until: float | None = None


@dataclass(frozen=True, slots=True)
class QueueStats:
    ready: int
    delayed: int
    in_flight: int


def connect(url: str, **options: Any) -> "redis.Redis":
    """A client for a `fair://` or `fairs://` address."""
    scheme, _, rest = url.partition("://")
    plain = {"fair": "redis", "fairs": "rediss"}.get(scheme, scheme)
    return redis.Redis.from_url(
        f"{plain}://{rest}", socket_timeout=10, socket_connect_timeout=3, health_check_interval=10, **options
    )


class FairQueues:
    """Every method may raise redis.RedisError."""

    def __init__(self, client: "redis.Redis", prefix: str = "partner.") -> None:
        self.client = client
        self.prefix = prefix
        self._publish = client.register_script(scripts.PUBLISH)
        self._configure = client.register_script(scripts.CONFIGURE)
        self._release = client.register_script(scripts.RELEASE)

    def ping(self) -> None:
        self.client.ping()

    def publish(self, messages: Sequence[FairMessage]) -> int:
        """Queues the messages that are not known yet; returns how many."""
        added = 0
        for start in range(0, len(messages), _CHUNK):
            arguments: list[Any] = []
            for message in messages[start : start + _CHUNK]:
                due = "" if message.eta is None else f"{message.eta * 1000:.3f}"
                arguments += (message.queue, message.id, due, encode(message))
            added += int(self._publish(args=arguments))
        return added

    def put(self, queue: str, id: str, payload: bytes, eta: float | None) -> bool:
        """Queues an encoded message."""
        due = "" if eta is None else f"{eta * 1000:.3f}"
        return bool(self._publish(args=[queue, id, due, payload]))

    def postpone(self, queue: str, id: str, until: float) -> bool:
        """Takes a lease back, to come again at `until`; False when there is none."""
        return bool(self._release(args=["", id, f"{until * 1000:.3f}"]))

    def configure_many(self, limits: Iterable[QueueLimits]) -> None:
        arguments: list[Any] = []
        for one in limits:
            rate = float(parse_rate(one.rate)) if one.rate else 0.0
            paused = "" if one.paused_until is None else f"{min(one.paused_until, 2e11) * 1000:.0f}"
            arguments += (
                one.queue,
                rate or "",
                max(1.0, rate * BURST_S),
                "" if one.max_in_flight is None else one.max_in_flight,
                paused,
            )
        for start in range(0, len(arguments), 5 * _CHUNK):
            self._configure(args=arguments[start : start + 5 * _CHUNK])

    def missing(self, queue: str, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that are neither ready, nor delayed, nor leased."""
        if not ids:
            return []
        known = self.client.smismember(f"fair:known:{queue}", list(ids))
        return [id_ for id_, is_known in zip(ids, known, strict=True) if not is_known]

    def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        with self.client.pipeline(transaction=False) as pipeline:
            for queue in queues:
                pipeline.llen(queue)
                pipeline.zcard(f"fair:delayed:{queue}")
                pipeline.hget("fair:flying", queue)
            found = pipeline.execute()
        return {
            queue: QueueStats(found[3 * n], found[3 * n + 1], int(found[3 * n + 2] or 0))
            for n, queue in enumerate(queues)
        }

    def was_wiped(self) -> bool:
        return not self.client.exists("fair:epoch")

    def mark(self) -> None:
        self.client.set("fair:epoch", datetime.now(UTC).isoformat())


def encode(message: FairMessage) -> bytes:
    """A task message of Celery's protocol 2 in kombu's envelope."""
    body = base64.b64encode(
        orjson.dumps([message.args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    ).decode()
    return orjson.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": message.task,
                "id": message.id,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": message.id,
                "parent_id": None,
                "argsrepr": message.argsrepr or repr(tuple(message.args)),
                "kwargsrepr": "{}",
                "origin": "fair",
                "ignore_result": True,
            },
            "properties": {
                "correlation_id": message.id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": message.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": message.id,
            },
        }
    )
