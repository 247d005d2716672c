# mypy: disable-error-code="no-untyped-call"
"""A connection that an intake has for itself: commands go out, and each reply goes to who sent the command."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from delivery.broker.leases import seconds

logger = logging.getLogger("fair_broker")


@dataclass(frozen=True, slots=True)
class _Awaited:
    """`then` takes the reply, which may be a ResponseError; `if_lost` is called when none will come."""

    then: Callable[[Any], None]
    if_lost: Callable[[], None]
    expected_by: float


class Line:
    """Heard by the poller, in its thread; errors of the connection go up to kombu, which starts anew."""

    def __init__(self, channel: Any, kind: str) -> None:
        self._channel = channel
        self._kind = kind
        self._client = channel._create_client(asynchronous=True)
        self._awaited: deque[_Awaited] = deque()
        channel.handlers[kind] = self.hear

    def send(
        self,
        *command: Any,
        then: Callable[[Any], None],
        if_lost: Callable[[], None] = lambda: None,
        wait_s: float = 0.0,
    ) -> None:
        """Connects first where that is needed. `wait_s`: how long the server itself may take its time."""
        self._awaited.append(_Awaited(then, if_lost, seconds() + wait_s))
        try:
            self._channel.connection.cycle.watch(self._channel, self._client, self._kind)
            connection = self._client.connection
            connection.send_packed_command(connection.pack_command(*command), check_health=False)
        except self._channel.connection_errors:
            self.lose()
            raise

    @property
    def is_connected(self) -> bool:
        connection = self._client.connection
        return connection is not None and connection._sock is not None

    def can_hear(self, timeout_s: float) -> bool:
        try:
            return bool(self._client.connection.can_read(timeout=timeout_s))
        except self._channel.connection_errors:
            self.lose()
            raise

    def hear(self) -> None:
        """All replies that are there."""
        if not self._awaited:  # the server closed an idle connection
            self.lose()
        is_first = True
        while self._awaited and (is_first or self.can_hear(0)):
            is_first = False
            try:
                reply = self._client.connection.read_response()
            except ResponseError as error:
                reply = error
            except self._channel.connection_errors:
                self.lose()
                raise
            self._awaited.popleft().then(reply)

    def check_health(self) -> None:
        """Gives a connection up whose reply is long overdue: a half-open one would never become readable."""
        patience_s = self._channel.health_check_interval
        overdue_s = seconds() - self._awaited[0].expected_by if self._awaited else 0.0
        if patience_s and overdue_s > patience_s:
            logger.warning("no answer from the broker for %.0f s: connecting anew", overdue_s)
            self.lose()

    def lose(self) -> None:
        """The connection is of no use any more."""
        awaited, self._awaited = self._awaited, deque()
        if self._client.connection is not None:
            self._client.connection.disconnect()
        for one in awaited:
            one.if_lost()
