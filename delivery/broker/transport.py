# mypy: disable-error-code="attr-defined, misc, no-any-return, union-attr, valid-type, no-untyped-call"
"""The kombu transport `fair://`: kombu's Redis transport, with partner queues served by the scripts.

A worker consumes all partner queues as one queue named `partner.*`. Every other queue is left to kombu.
"""

import atexit
import logging
import os
import socket
import threading
import time
from datetime import datetime
from typing import Any

import orjson
import redis
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport import redis as stock
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps

from delivery.broker import scripts
from delivery.broker.queues import FairQueues

logger = logging.getLogger(__name__)

PREFIX = "partner."
EVERY = "partner.*"
BEAT_S = 3.0
DEAD_AFTER_S = 10.0
LONGEST_WAIT_S = 1.0


def register() -> None:
    """Makes `fair://` known to kombu."""
    TRANSPORT_ALIASES["fair"] = "delivery.broker.transport:Transport"


def is_partner_queue(queue: str) -> bool:
    return queue.startswith(PREFIX) and queue != EVERY


class Leases:
    """This process' leases: kept alive by a thread, ended in batches, whatever becomes of a connection."""

    def __init__(self, client: "redis.Redis") -> None:
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns():x}"
        self._client = client
        self._ack = client.register_script(scripts.ACK)
        self._beat = client.register_script(scripts.BEAT)
        self._release = client.register_script(scripts.RELEASE)
        self._release_worker = client.register_script(scripts.RELEASE_WORKER)
        self._done: list[str] = []
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._stopping = False
        self._beater = threading.Thread(target=self._beating, name="fair-beat", daemon=True)
        self._acker = threading.Thread(target=self._acking, name="fair-ack", daemon=True)
        self.beat()
        self._beater.start()
        self._acker.start()
        atexit.register(self.close)

    def ack(self, id: str) -> None:
        """Ends a lease soon; returns at once."""
        with self._lock:
            self._done.append(id)
        self._wanted.set()

    def release(self, id: str) -> None:
        """Back to the head of its queue."""
        self._release(args=[self.worker, id, ""])

    def beat(self) -> None:
        dead = self._beat(args=[self.worker, DEAD_AFTER_S * 1000])
        for name in dead:
            count = self._release_worker(args=[name])
            logger.warning(
                "gave back the leases of a dead worker", extra={"worker": bytes_to_str(name), "count": count}
            )

    def flush(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        if not done:
            return
        try:
            for start in range(0, len(done), 1000):
                self._ack(args=[self.worker, *done[start : start + 1000]])
        except redis.RedisError:
            with self._lock:
                self._done = done + self._done
            raise

    def close(self) -> None:
        self._stopping = True
        try:
            self.flush()
            self._release_worker(args=[self.worker])
        except redis.RedisError:
            pass

    def _beating(self) -> None:
        while not self._stopping:
            time.sleep(BEAT_S)
            try:
                self.beat()
            except redis.RedisError as error:
                logger.debug("no beat: %s", error)

    def _acking(self) -> None:
        while not self._stopping:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self.flush()
            except redis.RedisError:
                time.sleep(0.5)
                self._wanted.set()


class QoS(stock.QoS):
    """Leases of partner messages are Leases' business; the rest is kombu's."""

    def append(self, message: Any, delivery_tag: str) -> None:
        if is_partner_queue(message.delivery_info["routing_key"]):
            virtual.QoS.append(self, message, delivery_tag)
            self.channel.partner_tags.add(delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if delivery_tag in self.channel.partner_tags:
            self.channel.partner_tags.discard(delivery_tag)
            self.channel.leases.ack(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if delivery_tag not in self.channel.partner_tags:
            super().reject(delivery_tag, requeue)
        elif requeue:
            self.channel.partner_tags.discard(delivery_tag)
            self.channel.leases.release(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
        else:
            self.ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        for tag in self.channel.partner_tags:  # still leased to this process, which is alive
            self._delivered.pop(tag, None)
        super().restore_unacked(client)


class Channel(stock.Channel):
    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.partner_tags: set[str] = set()
        self._hungry = True
        self._fetching = False
        self._wait_s = LONGEST_WAIT_S
        self._sha: str | None = None

    @property
    def leases(self) -> Leases:
        return self.connection.leases_of(self)

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        if not is_partner_queue(queue):
            super()._put(queue, message, **kwargs)
            return
        eta = message.get("headers", {}).get("eta")
        due = None
        if eta:
            due = datetime.fromisoformat(eta).timestamp()
        with self.conn_or_acquire() as client:
            FairQueues(client).put(queue, message["properties"]["delivery_tag"], dumps(message).encode(), due)

    def _room(self) -> int:
        estimate = self.qos.can_consume_max_estimate()
        return 64 if estimate is None else max(0, estimate)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if EVERY not in self.active_queues:
            super()._brpop_start(timeout)
            return
        connection = self.client.connection
        if self._hungry and (room := self._room()):
            if self._sha is None:
                with self.conn_or_acquire() as client:
                    self._sha = client.script_load(scripts.FETCH)
            self._hungry = False
            self._fetching = True
            connection.send_command("EVALSHA", self._sha, 0, self.leases.worker, room)
        else:
            others = [queue for queue in self._queue_cycle.consume(len(self.active_queues)) if queue != EVERY]
            keys = [self._q_for_pri(queue, pri) for pri in self.priority_steps for queue in others]
            connection.send_command("BRPOP", "fair:bell", *keys, max(0.001, self._wait_s))
        self._in_poll = connection
        self._brpop_sent_at = time.monotonic()

    def _brpop_read(self, **options: Any) -> bool:
        if EVERY not in self.active_queues:
            return bool(super()._brpop_read(**options))
        fetching, self._fetching = self._fetching, False
        try:
            try:
                reply = self.client.parse_response(
                    self.client.connection, "EVALSHA" if fetching else "BRPOP", **options
                )
            except self.connection_errors:
                self.client.connection.disconnect()
                self._hungry = True
                raise
            except redis.exceptions.NoScriptError:
                self._sha = None
                self._hungry = True
                return True
            return self._fetched(reply) if fetching else self._rung(reply)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _rung(self, reply: Any) -> bool:
        if reply is None:
            self._hungry = True
            return True
        queue, item = bytes_to_str(reply[0]).rsplit(self.sep, 1)[0], reply[1]
        self._hungry = True
        if queue != "fair:bell":
            self._queue_cycle.rotate(queue)
            self.connection._deliver(orjson.loads(item), queue)
        return True

    def _fetched(self, reply: list[Any]) -> bool:
        next_in_ms, more, *messages = reply
        self._wait_s = LONGEST_WAIT_S
        if next_in_ms:
            self._wait_s = min(LONGEST_WAIT_S, max(0.001, float(next_in_ms) / 1000))
        self._hungry = bool(more) or bool(messages)
        for raw in messages:
            payload = orjson.loads(raw)
            payload["headers"]["eta"] = None
            self.connection._deliver(payload, EVERY)
        return True


class Transport(stock.Transport):
    Channel = Channel
    driver_type = "redis"
    driver_name = "fair"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def leases_of(self, channel: Channel) -> Leases:
        return leases(channel)


_leases: Leases | None = None
_leases_pid = 0


def leases(channel: Channel) -> Leases:
    """One per process."""
    global _leases, _leases_pid
    if _leases is None or _leases_pid != os.getpid():
        parameters = channel._connparams()
        pool = redis.ConnectionPool(**{**parameters, "max_connections": 20})
        _leases, _leases_pid = Leases(redis.Redis(connection_pool=pool)), os.getpid()
    return _leases
