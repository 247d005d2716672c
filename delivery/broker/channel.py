# mypy: disable-error-code="no-untyped-call, misc, attr-defined, no-any-return"
# mypy: disable-error-code="override, union-attr, arg-type, return-value"
"""Kombu's Redis channel, extended by fair queues."""

import re
import ssl
from collections.abc import Callable
from typing import Any

import redis
from kombu.transport import redis as stock
from kombu.utils.json import dumps
from redis.backoff import NoBackoff
from redis.retry import Retry

from delivery.broker.consumers import consumers
from delivery.broker.errors import Unsupported
from delivery.broker.handout import delay_of
from delivery.broker.heart import DEAD_AFTER_S, Pace
from delivery.broker.intake import Intake
from delivery.broker.leases import Leases
from delivery.broker.naming import PREFIX, Naming
from delivery.broker.queues import FairQueues
from delivery.broker.received import Lease
from delivery.broker.scripts import Scripts

SOCKET_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
"""Unless `socket_timeout` and `socket_connect_timeout` are set. Kombu would wait for ever for a server that is gone."""


class QoS(stock.QoS):
    """The prefetch window. Messages of fair queues count in it, but `Leases` holds and settles them."""

    def _taken(self) -> int:
        leases = self.channel.leases
        return len(self._delivered) - len(self._dirty) + (0 if leases is None else len(leases.held))

    def can_consume(self) -> bool:
        return not self.prefetch_count or self._taken() < self.prefetch_count

    def can_consume_max_estimate(self) -> int | None:
        return max(0, self.prefetch_count - self._taken()) if self.prefetch_count else None

    def ack(self, delivery_tag: Any) -> None:
        if isinstance(delivery_tag, Lease):
            self.channel.leases.settle(delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        if isinstance(delivery_tag, Lease):
            self.channel.leases.settle(delivery_tag, "tail" if requeue else "ack")
        else:
            super().reject(delivery_tag, requeue)


class FairChannel(stock.Channel):
    """Adds the transport options `fair_prefix` and `fair_dead_after_s`."""

    QoS = QoS
    socket_timeout = SOCKET_TIMEOUT_S
    socket_connect_timeout = CONNECT_TIMEOUT_S
    fair_prefix = PREFIX
    fair_dead_after_s = DEAD_AFTER_S
    from_transport_options = (*stock.Channel.from_transport_options, "fair_prefix", "fair_dead_after_s")

    leases: Leases | None = None
    intake: Intake | None = None
    _is_cancelled = False
    _server: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.naming = Naming(self.fair_prefix, self.global_keyprefix)
        self._queues: FairQueues | None = None

    @property
    def queues(self) -> FairQueues:
        """For publishing, purging and counting, on a pooled connection."""
        if self._queues is None or self._queues.client.connection_pool is not self.pool:
            client = redis.Redis(connection_pool=self.pool)
            refuse_cluster(client)
            self._queues = FairQueues(client, self.fair_prefix, self.global_keyprefix)
        return self._queues

    # Publishing

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        if not self.naming.is_fair(queue):
            super()._put(queue, message, **kwargs)
            return
        delay_s = 0.0
        if eta := message["headers"].get("eta"):
            # The broker delays the message. A worker would hold a message with an ETA until then.
            delay_s = max(0.0, delay_of(eta))
            message = {**message, "headers": {**message["headers"], "eta": None}}
        arguments = (queue, 1, message["properties"]["delivery_tag"], delay_s, dumps(message))
        if (batch := kwargs.get("_publish_batch")) is not None:
            batch.add("evalsha", *self._unprefixed(self.queues.scripts.evalsha("publish", *arguments)))
        else:
            self.queues.scripts.run("publish", *arguments)

    def create_publish_batch(self, max_size: int) -> Any:
        self.queues.scripts.load("publish")
        return super().create_publish_batch(max_size)

    def _unprefixed(self, evalsha: tuple[Any, ...]) -> tuple[Any, ...]:
        """Kombu's client puts the global prefix before the third argument, which already is that prefix."""
        return (*evalsha[:2], "", *evalsha[3:]) if self.global_keyprefix else evalsha

    # Queues. A fair queue exists while it holds a message: none is declared or bound.

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if not self._is_own_exchange(exchange, queue):
            super()._queue_bind(exchange, routing_key, pattern, queue)

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        if self._is_own_exchange(exchange, routing_key):
            return [routing_key]
        return super()._lookup(exchange, routing_key, default)

    def _is_own_exchange(self, exchange: str, queue: str) -> bool:
        """Whether it is the default exchange, or the one that Celery creates for an undeclared queue."""
        return queue == self.naming.every or (self.naming.is_fair(queue) and exchange in ("", queue))

    def _size(self, queue: str) -> int:
        if queue == self.naming.every:
            return 0
        if self.naming.is_fair(queue):
            return int(self.queues.client.llen(self.naming.list(queue)))
        return super()._size(queue)

    def _purge(self, queue: str) -> int:
        if queue == self.naming.every:
            return sum(self.queues.purge(name) for name in self.queues.names())
        if self.naming.is_fair(queue):
            return self.queues.purge(queue)
        return super()._purge(queue)

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        if self.naming.is_fair(queue):
            self.queues.purge(queue)
        elif queue != self.naming.every:
            super()._delete(queue, *args, **kwargs)

    def _get(self, queue: str) -> Any:
        if queue == self.naming.every or self.naming.is_fair(queue):
            raise Unsupported(f"messages of fair queues are consumed, all as {self.naming.every!r}, not fetched singly")
        return super()._get(queue)

    # Consuming

    @property
    def active_queues(self) -> list[str]:
        """The queues that kombu itself fetches from."""
        return [queue for queue in super().active_queues if queue != self.naming.every]

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[[Any], Any], consumer_tag: str, **kwargs: Any
    ) -> None:
        if self.naming.is_fair(queue):
            raise Unsupported(f"a worker consumes all fair queues, as {self.naming.every!r}, not {queue!r} alone")
        super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        if queue == self.naming.every:
            if self.leases is None:
                refuse_cluster(self.queues.client)
                self._server = f"{self.connection.client.as_uri(include_password=True)} {self.naming}"
                self.leases = consumers.claim(self._server, self._own_scripts, Pace(self.fair_dead_after_s))
            self._is_cancelled = False
            self.intake = Intake(self, self.leases, callback, no_ack=no_ack)

    def _basic_cancel(self, consumer_tag: str) -> None:
        queue = self._tag_to_queue.get(consumer_tag)
        super()._basic_cancel(consumer_tag)
        if queue == self.naming.every:
            self._is_cancelled = not self._closing
            self.stop_intake()

    def close(self) -> None:
        """After a cancel, unsettled messages go back. Otherwise the connection broke, or the worker is ending: running
        tasks keep their leases."""
        self._closing = True
        self.stop_intake()
        super().close()
        server, self._server = self._server, None
        if server is None or self.leases is None:
            return
        if self._is_cancelled and not self.leases.stays_until_exit:
            consumers.retire(self.leases)
        else:
            consumers.disconnect(server, self.leases)

    def stop_intake(self) -> None:
        intake, self.intake = self.intake, None
        if intake is not None:
            intake.stop()

    def _own_scripts(self) -> Scripts:
        """Scripts on connections that outlive this channel."""
        manager = getattr(self, "_sentinel_manager", None)
        pool = self._get_pool()
        if manager is not None:
            self._sentinel_manager = manager  # the channel closes this one, not that of the new pool
        return Scripts(redis.Redis(connection_pool=pool), self.naming)


class TlsChannel(FairChannel):
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """The certificate is checked unless the address or `broker_use_ssl` says otherwise."""
        client = self.connection.client
        if not isinstance(client.ssl, dict):
            client.ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        return super()._connparams(asynchronous)


def asks_once(**options: Any) -> dict[str, Any]:
    """Options of connections to Sentinels. redis-py would ask one that is down for seconds before it asks the next."""
    return {"retry": Retry(NoBackoff(), 0), **options}


class SentinelChannel(FairChannel, stock.SentinelChannel):
    sentinel_kwargs: dict[str, Any] | None = None
    from_transport_options = (
        *FairChannel.from_transport_options,
        *set(stock.SentinelChannel.from_transport_options) - set(stock.Channel.from_transport_options),
    )

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        """Renames the scheme for kombu, which takes only `sentinel://` addresses as Sentinels."""
        timeouts = {"socket_timeout": self.socket_timeout, "socket_connect_timeout": self.socket_connect_timeout}
        self.sentinel_kwargs = asks_once(**{**timeouts, **(self.sentinel_kwargs or {})})
        client = self.connection.client
        given = client.alt
        client.alt = [re.sub(r"^\w+://", "sentinel://", address) for address in given]
        try:
            return super()._sentinel_managed_pool(asynchronous)
        finally:
            client.alt = given


def refuse_cluster(client: redis.Redis) -> None:
    """Raises Unsupported on Redis Cluster: the scripts use keys of all queues, which are on many nodes there."""
    if client.info("cluster").get("cluster_enabled"):
        raise Unsupported(
            "the fair broker does not run on Redis Cluster: use one primary, with Sentinel if it must fail over"
        )
