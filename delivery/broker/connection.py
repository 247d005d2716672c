# mypy: disable-error-code="no-untyped-call"
"""A worker's own connection: sends commands, and passes each reply to the callback that came with its command."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from delivery.broker.leases import seconds

logger = logging.getLogger("fair_broker")


@dataclass(frozen=True, slots=True)
class _Pending:
    """A command without a reply. `on_reply` gets the reply, or a ResponseError; `on_lost` is called if none comes."""

    on_reply: Callable[[Any], None]
    on_lost: Callable[[], None]
    expected_by: float


class WorkerConnection:
    """The poller reads it, in its thread. Connection errors go up to kombu, which connects again."""

    def __init__(self, channel: Any, kind: str) -> None:
        self._channel = channel
        self._kind = kind
        self._client = channel._create_client(asynchronous=True)
        self._pending: deque[_Pending] = deque()
        channel.handlers[kind] = self.read_replies

    def send(
        self,
        *command: Any,
        on_reply: Callable[[Any], None],
        on_lost: Callable[[], None] = lambda: None,
        wait_s: float = 0.0,
    ) -> None:
        """Connects first if necessary. `wait_s`: how long the server may wait before it replies."""
        self._pending.append(_Pending(on_reply, on_lost, seconds() + wait_s))
        try:
            self._channel.connection.cycle.watch(self._channel, self._client, self._kind)
            connection = self._client.connection
            connection.send_packed_command(connection.pack_command(*command), check_health=False)
        except self._channel.connection_errors:
            self.disconnect()
            raise

    @property
    def is_connected(self) -> bool:
        connection = self._client.connection
        return connection is not None and connection._sock is not None

    def has_reply(self, timeout_s: float) -> bool:
        try:
            return bool(self._client.connection.can_read(timeout=timeout_s))
        except self._channel.connection_errors:
            self.disconnect()
            raise

    def read_replies(self) -> None:
        """Reads all replies that have arrived."""
        if not self._pending:  # the server closed an idle connection
            self.disconnect()
        is_first = True
        while self._pending and (is_first or self.has_reply(0)):
            is_first = False
            try:
                reply = self._client.connection.read_response()
            except ResponseError as error:
                reply = error
            except self._channel.connection_errors:
                self.disconnect()
                raise
            self._pending.popleft().on_reply(reply)

    def check_health(self) -> None:
        """Disconnects if a reply is long overdue: a half-open connection never becomes readable."""
        patience_s = self._channel.health_check_interval
        overdue_s = seconds() - self._pending[0].expected_by if self._pending else 0.0
        if patience_s and overdue_s > patience_s:
            logger.warning("no answer from the broker for %.0f s: connecting anew", overdue_s)
            self.disconnect()

    def disconnect(self) -> None:
        """Disconnects; pending replies are lost."""
        pending, self._pending = self._pending, deque()
        if self._client.connection is not None:
            self._client.connection.disconnect()
        for one in pending:
            one.on_lost()
