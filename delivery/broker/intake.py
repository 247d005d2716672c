# mypy: disable-error-code="no-untyped-call"
"""Keeps a worker supplied from the fair queues.

Two connections of its own. One asks: it tells what was settled and gets as many messages as there is room for, in one
round trip; one question at a time, so that what happens meanwhile goes along with the next. The other waits for this
worker's bell while there is nothing to fetch. Nobody polls but once a second, in case a bell was lost.
"""

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import redis
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import NoScriptError, ResponseError

from delivery.broker.leases import Leases, seconds
from delivery.broker.poller import BELL, EXCHANGE, WAKER
from delivery.broker.received import Lease, Received

logger = logging.getLogger("fair_broker")

MOST_ROOM = 200
"""Messages in one answer: a worker that takes more lets the others wait."""
RESERVED = 1 / 4
"""Of a worker's places: for queues of which nothing is running, so that slow ones cannot take them all."""
BELL_WAIT_S = 1
REFUSED_WAIT_S = 1.0
SHORTEST_TIMER_S = 0.001
LAST_ANSWER_S = 1.0
PACE_S = 0.003
SETTLED_WITHIN_S = 0.01
"""Between two questions: what comes meanwhile goes along with the next. To hear what was settled, only queues at their
caps wait."""
NOTHING, FOR_OPEN_ROOM, FOR_ANY_ROOM = range(3)
"""What an answer left behind."""


class Intake:
    """Belongs to one channel and the thread of its event loop. Connection errors go up to kombu, which starts anew."""

    def __init__(self, channel: Any, leases: Leases, callback: Callable[[Received], Any], *, no_ack: bool) -> None:
        self.leases = leases
        self._channel = channel
        self._poller = channel.connection.cycle
        self._bell = leases.scripts.naming.key("bell", leases.worker)
        self._callback = callback
        self._no_ack = no_ack
        self._asker = channel._create_client(asynchronous=True)
        self._listener = channel._create_client(asynchronous=True)
        self._asked_at: float | None = None
        self._last_asked_at = 0.0
        self._listened_at: float | None = None
        self._is_called = True
        self._left = NOTHING
        self._is_refused = False
        """The server answered with an error (its disk is full, say): it is asked again after a while, not at once."""
        self._due_at: float | None = None
        self._timer: Any = None
        self._waker, self._wakened = socket.socketpair()
        for end in (self._waker, self._wakened):
            end.setblocking(False)
        channel.handlers.update({EXCHANGE: self._answered, BELL: self._rung, WAKER: self._woken})
        self._poller.watch_socket(channel, self._wakened, WAKER)
        leases.tell(self._wake)

    # What the poller calls

    def advance(self) -> None:
        """Before each wait for events: asks or listens, whatever is in order."""
        self._check_timer()
        room = self._room()
        if self._is_refused and self._due_at is not None:
            return
        if self._asked_at is None and self._has_reason(room):
            if self._wait_s(room) <= 0:
                self._ask(room)
            elif self._due_at is None:
                self._wake()  # too late for a timer in this round of the loop
        elif self._asked_at is None and self._listened_at is None and room:
            self._listen()

    def due_in_s(self) -> float | None:
        return None if self._due_at is None else max(SHORTEST_TIMER_S, self._due_at - seconds())

    def check_health(self) -> None:
        """Drops connections whose answer is long overdue: a half-open one would never become readable."""
        patience_s = self._channel.health_check_interval or 0
        for client, since, wait_s in (
            (self._asker, self._asked_at, 0),
            (self._listener, self._listened_at, BELL_WAIT_S),
        ):
            if patience_s and since is not None and seconds() - since > wait_s + patience_s:
                logger.warning("no answer from the broker for %.0f s: connecting anew", seconds() - since)
                self._lose(client)

    # Asking

    def _room(self) -> int:
        qos = self._channel.qos
        if not qos.can_consume():
            return 0
        estimate = qos.can_consume_max_estimate()
        return MOST_ROOM if estimate is None else min(MOST_ROOM, estimate)

    def _open(self, room: int) -> int:
        """How much of the room is for queues that hold something already."""
        reserved = int((self._channel.qos.prefetch_count or 0) * RESERVED)
        return min(room, max(0, (self._channel.qos.can_consume_max_estimate() or MOST_ROOM) - reserved))

    def _finds_more(self, room: int) -> bool:
        return room > 0 and (self._left == FOR_ANY_ROOM or (self._left == FOR_OPEN_ROOM and self._open(room) > 0))

    def _has_reason(self, room: int) -> bool:
        return self.leases.has_news or self._is_called or self._finds_more(room)

    def _wait_s(self, room: int) -> float:
        """Until the next question, so that what happens meanwhile goes along with it."""
        is_awaited = self._is_called or self.leases.is_awaited or self._finds_more(room)
        pace_s = PACE_S if is_awaited else SETTLED_WITHIN_S
        return self._last_asked_at + pace_s - seconds()

    def _keep_pace(self) -> None:
        """After something happened, in time for the loop's next look at its timers."""
        room = self._room()
        if self._asked_at is None and not self._is_refused and self._has_reason(room):
            wait_s = self._wait_s(room)
            if wait_s > 0:
                self._come_again(wait_s)

    def _ask(self, room: int) -> None:
        self._poller.watch(self._channel, self._asker, EXCHANGE)
        self._is_called = False
        self._asked_at = self._last_asked_at = seconds()
        arguments = self.leases.scripts.evalsha("exchange", *self.leases.request(room, self._open(room)))
        self._send(self._asker, "EVALSHA", *arguments)

    def _send(self, client: Any, *command: Any) -> None:
        connection = client.connection
        try:
            connection.send_packed_command(connection.pack_command(*command), check_health=False)
        except self._channel.connection_errors:
            self._lose(client)
            raise

    def _answered(self) -> None:
        if self._asked_at is None:  # the server closed an idle connection
            self._lose(self._asker)
            return
        try:
            answer = self._asker.connection.read_response()
        except NoScriptError:
            self._asked_at = None
            self.leases.refused()
            self.leases.scripts.load("exchange")
            self._is_called = True
            self._keep_pace()
        except redis.exceptions.ReadOnlyError:
            self._lose(self._asker)
            raise redis.exceptions.ConnectionError("the broker is a replica now") from None
        except ResponseError as error:
            if not self._is_refused:
                logger.warning("the broker refuses to exchange messages: %s", error)
            self._is_refused = True
            self._asked_at = None
            self.leases.unanswered()
            self._come_again(REFUSED_WAIT_S)
        except self._channel.connection_errors:
            self._lose(self._asker)
            raise
        else:
            self._asked_at = None
            self._take(answer)
            self._keep_pace()

    def _take(self, answer: list[Any]) -> None:
        if not self.leases.answered():
            logger.warning("an answer came too late: its messages go back")
            self._is_called = True
            return
        if self._is_refused:
            logger.info("the broker exchanges messages again")
        self._is_refused = False
        due_in, self._left, self.leases.is_awaited, *queues = answer
        self._due_at = None
        if due_in:
            self._come_again(float(due_in))
        fetched: list[tuple[Lease, bytes]] = []
        start = 0
        while start < len(queues):
            queue, end = bytes_to_str(queues[start]), start + 2 + 2 * queues[start + 1]
            fetched += [(self.leases.hold(queue, queues[at]), queues[at + 1]) for at in range(start + 2, end, 2)]
            start = end
        self._deliver(fetched)

    def _deliver(self, fetched: list[tuple[Lease, bytes]]) -> None:
        delivered = 0
        try:
            for lease, raw in fetched:
                if (message := self._read(lease, raw)) is not None:
                    self._callback(message)
                    if self._no_ack:
                        self.leases.settle(lease)
                delivered += 1
        finally:
            self.leases.give_back(lease for lease, _ in fetched[delivered:])

    def _read(self, lease: Lease, raw: bytes) -> Received | None:
        """None when it is not for now, or for nobody."""
        try:
            envelope = orjson.loads(raw)
            eta = envelope["headers"].get("eta")
            if eta:  # not published through this broker, which takes the ETA out
                delay_s = delay_of(eta)
                if delay_s > 0:
                    self.leases.put_off(lease, delay_s)
                    return None
                envelope["headers"]["eta"] = None
            return Received(envelope, lease, self._channel)
        except Exception:
            logger.exception("buried a message that cannot be read", extra={"queue": lease.queue, "start": raw[:500]})
            self.leases.settle(lease, "bury")
            return None

    # Waiting

    def _listen(self) -> None:
        self._poller.watch(self._channel, self._listener, BELL)
        self._listened_at = seconds()
        self._send(self._listener, "BRPOP", self._bell, BELL_WAIT_S)

    def _rung(self) -> None:
        """The bell, or nothing for a second: time to look. Without room the question passes the bell on."""
        if self._listened_at is None:
            self._lose(self._listener)
            return
        try:
            self._listener.connection.read_response()
        except self._channel.connection_errors:
            self._lose(self._listener)
            raise
        self._listened_at = None
        self._is_called = True
        self._keep_pace()

    def _come_again(self, in_s: float) -> None:
        in_s = max(in_s, SHORTEST_TIMER_S)
        self._due_at = seconds() + in_s
        if self._poller.hub is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._poller.hub.call_later(in_s, self._wake)  # the loop is about to wait when timers end

    def _check_timer(self) -> None:
        if self._due_at is not None and self._due_at <= seconds():
            self._due_at, self._is_called = None, True

    def _wake(self) -> None:
        """From any thread: there are settlements to tell."""
        with suppress(OSError):  # full: it is awake; closed: others tell them
            self._waker.send(b"\0")

    def _woken(self) -> None:
        with suppress(OSError):
            self._wakened.recv(4096)
        self._keep_pace()

    # Ending

    def stop(self) -> None:
        """Takes nothing any more. What an answer on its way brings goes back to the heads of the queues."""
        if self._asked_at is not None:
            held = set(self.leases.held)
            self._callback = _ignore
            with suppress(*self._channel.connection_errors):
                if self._asker.connection.can_read(timeout=LAST_ANSWER_S):
                    self._answered()
            self.leases.give_back([lease for lease in self.leases.held if lease not in held])
        self._close()
        self.leases.tell(None)

    def _lose(self, client: Any) -> None:
        """A connection is of no use any more."""
        if client is self._asker and self._asked_at is not None:
            self._asked_at = None
            self.leases.unanswered()
        if client is self._listener:
            self._listened_at = None
        client.connection.disconnect()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._poller.unwatch_socket(self._wakened)
        self._waker.close()
        self._wakened.close()
        for client in (self._asker, self._listener):
            if client.connection is not None:
                self._lose(client)


def _ignore(_message: Received) -> None:
    pass


def delay_of(eta: str) -> float:
    """Seconds from now until an ISO 8601 time; one without a zone is in UTC."""
    at = datetime.fromisoformat(eta)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
