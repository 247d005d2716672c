# mypy: disable-error-code="no-untyped-call"
"""Keeps a worker supplied from the fair queues.

A question tells what was settled and gets as many messages as there is room for, in one round trip; one question at a
time, so that what happens meanwhile goes along with the next. While there is nothing to fetch, a second connection
waits for this worker's bell, and the next question waits behind it: the server answers that as soon as the bell has
rung, and what is settled before is told by itself. Nobody polls but once a second, in case a bell was lost.
"""

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from delivery.broker.handout import Handout
from delivery.broker.leases import Leases, Settled, seconds
from delivery.broker.line import Line
from delivery.broker.poller import BELL, EXCHANGE, WAKER
from delivery.broker.received import Received

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
_RING = """#!lua flags=allow-oom
redis.call('LPUSH', ARGV[1], '1')
return redis.call('PEXPIRE', ARGV[1], ARGV[2])
"""
"""A server without memory refuses a plain LPUSH."""
NOTHING, FOR_OPEN_ROOM, FOR_ANY_ROOM = range(3)
"""What an answer left behind."""


class Intake:
    """Belongs to one channel and the thread of its event loop. Connection errors go up to kombu, which starts anew."""

    def __init__(self, channel: Any, leases: Leases, callback: Callable[[Received], Any], *, no_ack: bool) -> None:
        self.leases = leases
        self._channel = channel
        self._poller = channel.connection.cycle
        self._bell = leases.scripts.naming.key("bell", leases.worker)
        self._handout = Handout(channel, callback, no_ack=no_ack)
        self._asking = Line(channel, EXCHANGE)
        self._listening = Line(channel, BELL)
        self._bell_wait_s = min(BELL_WAIT_S, leases.trust_s / 2)
        self._question: Line | None = None
        """Where the answer to the open question comes."""
        self._last_sent_at = 0.0
        self._is_listening = False
        self._is_ringing = False
        """Its own bell, to have the question behind it answered."""
        self._is_called = True
        self._left = NOTHING
        self._open_left = 0
        """Of the open room, as the server knows it."""
        self._is_refused = False
        """The server answered with an error (its disk is full, say): it is asked again after a while, not at once."""
        self._due_at: float | None = None
        self._tells_at: float | None = None
        self._timer: Any = None
        self._waker, self._wakened = socket.socketpair()
        for end in (self._waker, self._wakened):
            end.setblocking(False)
        channel.handlers[WAKER] = self._woken
        self._poller.watch_socket(channel, self._wakened, WAKER)
        leases.tell(self._wake)

    # What the poller calls

    def advance(self) -> None:
        """Before each wait for events: asks or listens, whatever is in order."""
        self._check_timer()
        if self._is_refused and self._due_at is not None:
            return
        if self._question is None:
            self._go_on(self._room())
        elif self._question is self._listening:
            self._attend()

    def due_in_s(self) -> float | None:
        times = [at for at in (self._due_at, self._tells_at) if at is not None]
        return max(SHORTEST_TIMER_S, min(times) - seconds()) if times else None

    def check_health(self) -> None:
        """Drops connections whose answer is long overdue: a half-open one would never become readable."""
        patience_s = self._channel.health_check_interval
        for line in (self._asking, self._listening):
            if patience_s and line.overdue_s() > patience_s:
                logger.warning("no answer from the broker for %.0f s: connecting anew", line.overdue_s())
                line.lose()

    # Asking

    def _go_on(self, room: int) -> None:
        is_urgent = self._is_urgent(room)
        if (is_urgent or self.leases.has_news) and self._wait_s(is_urgent) <= 0:
            self._ask(room)
        elif is_urgent:
            if self._due_at is None:
                self._wake()  # too late for a timer in this round of the loop
        elif room:
            self._listen()
            if self._may_wait(room):
                self._ask_behind_the_bell(room)

    def _attend(self) -> None:
        """While the question waits behind the bell."""
        if self._is_called or self.leases.has_lost:
            self._ring()
        if self.leases.has_settled and self._wait_s(self._is_urgent(0)) <= 0:
            self._tell()

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

    def _is_urgent(self, room: int) -> bool:
        """Whether there is something to fetch, or somebody waits for what is to be told."""
        is_awaited = self.leases.has_lost or (self.leases.is_awaited and self.leases.has_news)
        return self._is_called or bool(is_awaited) or self._finds_more(room)

    def _may_wait(self, room: int) -> bool:
        """Whether the server knows enough to ring for all that may come."""
        has_room = min(self._open_left, self._open(room)) > 0
        return has_room and self._left == NOTHING and not self.leases.is_awaited

    def _wait_s(self, is_urgent: bool) -> float:
        """Until the next request, so that what happens meanwhile goes along with it."""
        return self._last_sent_at + (PACE_S if is_urgent else SETTLED_WITHIN_S) - seconds()

    def _keep_pace(self) -> None:
        """After something happened, in time for the loop's next look at its timers."""
        if self._question is self._asking or self._is_refused:
            return
        is_urgent = self._is_urgent(self._room())
        if is_urgent and self._question is None:
            if (wait_s := self._wait_s(is_urgent)) > 0:
                self._come_again(wait_s)
        elif self.leases.has_settled and self._tells_at is None:
            wait_s = max(self._wait_s(is_urgent), SHORTEST_TIMER_S)
            self._tells_at = seconds() + wait_s
            self._set_timer(wait_s)

    def _ask(self, room: int) -> None:
        self._sends()
        self._question = self._asking
        self._asking.send(*self._exchange(room), then=self._answered, if_lost=self._lost)

    def _ask_behind_the_bell(self, room: int) -> None:
        self._question = self._listening
        command = self._exchange(room, tells=False)
        self._listening.send(*command, then=self._answered, if_lost=self._lost, wait_s=BELL_WAIT_S)

    def _exchange(self, room: int, *, tells: bool = True) -> tuple[Any, ...]:
        self._is_called = self._is_ringing = False
        self._open_left = self._open(room)
        request = self.leases.request(room, self._open_left, tells=tells)
        return ("EVALSHA", *self.leases.scripts.evalsha("exchange", *request))

    def _sends(self) -> None:
        self._connects()
        self._last_sent_at = seconds()
        self._tells_at = None

    def _connects(self) -> None:
        if not self._asking.is_connected:
            self.leases.doubt()

    def _lost(self) -> None:
        self._question = None
        self.leases.unanswered()

    def _answered(self, answer: Any) -> None:
        line, self._question = self._question, None
        match answer:
            case NoScriptError():
                self.leases.refused()
                self.leases.scripts.load("exchange")
                self._is_called = True
                self._keep_pace()
            case redis.exceptions.ReadOnlyError():
                self._lost()
                if line is not None:
                    line.lose()
                raise redis.exceptions.ConnectionError("the broker is a replica now")
            case ResponseError():
                if not self._is_refused:
                    logger.warning("the broker refuses to exchange messages: %s", answer)
                self._is_refused = True
                self._lost()
                self._come_again(REFUSED_WAIT_S)
            case _:
                self._take(answer)
                self._keep_pace()

    def _tell(self) -> None:
        """What was settled while the question waits behind the bell."""
        self._sends()
        settled = self.leases.take_settled()
        command = ("EVALSHA", *self.leases.scripts.evalsha("exchange", *self.leases.telling(settled, asks=False)))
        self._asking.send(*command, then=partial(self._told, settled), if_lost=partial(self.leases.put_back, settled))

    def _told(self, settled: list[Settled], answer: Any) -> None:
        if isinstance(answer, ResponseError):  # the next question has the same trouble, and knows what to do
            self.leases.put_back(settled)
            self._is_called = True
        else:
            self.leases.is_awaited = answer[2]
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
        self._open_left -= self._handout.take(queues)

    # Waiting

    def _listen(self) -> None:
        if not self._is_listening:
            self._is_listening = True
            command = ("BRPOP", self._bell, self._bell_wait_s)
            self._listening.send(*command, then=self._rung, if_lost=self._deaf, wait_s=BELL_WAIT_S)

    def _deaf(self) -> None:
        self._is_listening = False

    def _rung(self, reply: Any) -> None:
        """The bell, or nothing for a second: time to look. Without room the question passes the bell on."""
        self._is_listening = False
        if isinstance(reply, ResponseError):
            self._listening.lose()
            raise reply
        self._is_called = self._question is not self._listening
        self._keep_pace()

    def _ring(self) -> None:
        """The bell of its own. If that gets lost, it waits as long as for any."""
        if not self._is_ringing:
            self._is_ringing = True
            self._connects()
            self._asking.send("EVAL", _RING, 0, self._bell, BELL_WAIT_S * 1000, then=_ignore)

    def _come_again(self, in_s: float) -> None:
        in_s = max(in_s, SHORTEST_TIMER_S)
        self._due_at = seconds() + in_s
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._set_timer(in_s)

    def _set_timer(self, in_s: float) -> Any:
        """The loop is about to wait when timers end."""
        return None if self._poller.hub is None else self._poller.hub.call_later(in_s, self._wake)

    def _check_timer(self) -> None:
        if self._due_at is not None and self._due_at <= seconds():
            self._due_at, self._is_called = None, True
        if self._tells_at is not None and self._tells_at <= seconds() and not self.leases.has_settled:
            self._tells_at = None  # somebody else told it

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
        if self._question is not None:
            held = set(self.leases.held)
            self._handout.stop()
            with suppress(*self._channel.connection_errors):
                self._await_answer()
            self.leases.give_back([lease for lease in tuple(self.leases.held) if lease not in held])
        self._close()
        self.leases.tell(None)

    def _await_answer(self) -> None:
        """For a moment."""
        if self._question is self._listening:
            self._ring()
        while self._question is not None and self._question.can_hear(LAST_ANSWER_S):
            self._question.hear()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._poller.unwatch_socket(self._wakened)
        self._waker.close()
        self._wakened.close()
        self._asking.lose()
        self._listening.lose()


def _ignore(_: Any) -> None:
    pass
