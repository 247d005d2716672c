"""Shares open breakers between worker processes, in Valkey.

One hash holds all open breakers, so reading them costs one command, however many subscriptions there are. Its times are
of Valkey's clock, so a host whose clock is wrong postpones no delivery for longer. While Valkey is away, all breakers
count as closed; the broker hands out nothing then anyway.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

import orjson
import redis
from kombu.utils.encoding import bytes_to_str

from delivery import publish
from delivery.breaker import FIRST_PERIOD_S, Opened
from delivery.clocks import ahead_of_s, ahead_of_valkey_s
from delivery.metrics.process import broker_failed
from delivery.waits import offload
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

_OPEN = "breakers"
_PROBE = "breaker-probe:"
_SINCE = "breakers-since"
"""When each open breaker opened first. Shown to people; workers do not read it."""
_COUNTS = "breakers-opened"
"""How often each breaker opened: see `opened_counts`."""


class SharedBreakers:
    """`delivery.breaker.Shared` in Valkey. While a delivery waits for Valkey, the others of its thread go on."""

    def __init__(self, client: redis.Redis | None = None, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._not_shared = Trouble(logger, "workers do not share their breakers")

    @property
    def client(self) -> redis.Redis:
        return self._client or publish.queues().client

    def read(self) -> Mapping[str, Opened]:
        try:
            return offload(self.opened)
        except redis.RedisError:
            broker_failed("breaker")
            return {}

    def open(self, subscription_id: str, opened: Opened) -> None:
        self._write(lambda: self._open(subscription_id, opened))

    def close(self, subscription_id: str) -> None:
        self._write(lambda: self._close(subscription_id))

    def take_probe(self, subscription_id: str, for_s: float) -> bool:
        try:
            return bool(
                offload(partial(self.client.set, _PROBE + subscription_id, b"1", nx=True, px=int(for_s * 1000)))
            )
        except redis.RedisError:
            broker_failed("breaker")
            return True

    def leave_probe(self, subscription_id: str) -> None:
        self._write(lambda: self.client.delete(_PROBE + subscription_id))

    def opened(self) -> Mapping[str, Opened]:
        """Like `read`, but raises redis.RedisError. It blocks."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(_OPEN)
            time_there, rows = pipeline.execute()
        ahead_s = ahead_of_s(time_there, self._clock)
        opened = {bytes_to_str(key): Opened(*orjson.loads(value)) for key, value in rows.items()}
        return {key: replace(one, until=one.until + ahead_s) for key, one in opened.items()}

    def since(self) -> Mapping[str, float]:
        """When each open breaker opened (Unix seconds). Raises redis.RedisError."""
        rows = self.client.hgetall(_SINCE)
        return {bytes_to_str(key): float(at) for key, at in rows.items()}

    def opened_counts(self) -> dict[str, int]:
        """How often each breaker opened since its count was forgotten. Raises redis.RedisError."""
        return {bytes_to_str(key): int(count) for key, count in self.client.hgetall(_COUNTS).items()}

    def forget_counts(self, subscription_ids: Iterable[str]) -> None:
        """Raises redis.RedisError."""
        if ids := list(subscription_ids):
            self.client.hdel(_COUNTS, *ids)

    def _open(self, subscription_id: str, opened: Opened) -> None:
        until = opened.until - ahead_of_valkey_s(self.client, self._clock)
        with self.client.pipeline() as pipeline:
            pipeline.hset(_OPEN, subscription_id, orjson.dumps([until, opened.period_s]))
            pipeline.hsetnx(_SINCE, subscription_id, str(until - opened.period_s))
            if opened.period_s <= FIRST_PERIOD_S:  # not after a failed probe
                pipeline.hincrby(_COUNTS, subscription_id, 1)
            pipeline.delete(_PROBE + subscription_id)
            pipeline.execute()

    def _close(self, subscription_id: str) -> None:
        with self.client.pipeline() as pipeline:
            pipeline.hdel(_OPEN, subscription_id)
            pipeline.hdel(_SINCE, subscription_id)
            pipeline.delete(_PROBE + subscription_id)
            pipeline.execute()

    def _write(self, write: Callable[[], object]) -> None:
        try:
            offload(write)
        except redis.RedisError as error:
            broker_failed("breaker")
            self._not_shared.met(error)
        else:
            self._not_shared.over()
