# mypy: disable-error-code="no-untyped-call"
"""Keeps a worker supplied from the fair queues.

A request (lua/exchange.lua) reports what was settled and fetches as many messages as there is room for. Only one is
open at a time; what is settled meanwhile goes with the next. When nothing is left to fetch, a second connection blocks
on this worker's bell with the next request behind it, so the server answers as soon as the bell rings. What is settled
while that request waits is reported on the first connection. Nothing is polled, but once a second in case a ring was
lost.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from delivery.broker.bell import BELL_WAIT_S, Bell
from delivery.broker.handout import Handout
from delivery.broker.leases import Leases, Settled, seconds
from delivery.broker.line import Line
from delivery.broker.poller import BELL, EXCHANGE
from delivery.broker.received import Received
from delivery.broker.room import Room
from delivery.broker.waking import SHORTEST_S, Alarm, Waker

logger = logging.getLogger("fair_broker")

REFUSED_WAIT_S = 1.0
LAST_ANSWER_S = 1.0
PACE_S = 0.003
"""Between two requests: what happens meanwhile goes with the next."""
SETTLED_WITHIN_S = 0.01
"""The same while there is nothing to fetch: only queues at their caps wait to hear what was settled."""
NOTHING, FOR_OPEN_ROOM, FOR_ANY_ROOM = range(3)
"""What is left to fetch after an answer."""


class Intake:
    """Belongs to one channel and the thread of its event loop. Connection errors go up to kombu, which starts anew."""

    def __init__(self, channel: Any, leases: Leases, callback: Callable[[Received], Any], *, no_ack: bool) -> None:
        self.leases = leases
        self._channel = channel
        self._room = Room(channel)
        self._handout = Handout(channel, callback, no_ack=no_ack)
        self._line = Line(channel, EXCHANGE)
        key = leases.scripts.naming.key("bell", leases.worker)
        self._bell = Bell(Line(channel, BELL), key, leases.trust_s / 2, self._rung)
        self._open_on: Line | None = None
        """The connection that the open request was sent on."""
        self._last_sent_at = 0.0
        self._is_called = True
        """There may be something to fetch."""
        self._left = NOTHING
        self._open_room_left = 0
        """As the server knows it."""
        self._is_refused = False
        """The server answered with an error (its disk is full, say): the next request waits for a while."""
        self._waker = Waker(channel, self._keep_pace)
        self._fetch_alarm = Alarm(channel, self._waker.wake)
        self._report_alarm = Alarm(channel, self._waker.wake)
        leases.tell(self._waker.wake)

    # What the poller calls

    def advance(self) -> None:
        """Before each wait for events: sends what is in order."""
        self._check_alarms()
        if self._is_refused and self._fetch_alarm.at is not None:
            return
        if self._open_on is None:
            self._request_or_listen(self._room.total)
        elif self._open_on is self._bell.line:
            self._attend_while_it_waits()

    def due_in_s(self) -> float | None:
        times = [alarm.at for alarm in (self._fetch_alarm, self._report_alarm) if alarm.at is not None]
        return max(SHORTEST_S, min(times) - seconds()) if times else None

    def check_health(self) -> None:
        for line in (self._line, self._bell.line):
            line.check_health()

    # When to send

    def _request_or_listen(self, room: int) -> None:
        is_urgent = self._is_urgent(room)
        if (is_urgent or self.leases.has_news) and self._wait_s(is_urgent) <= 0:
            self._request(room)
        elif is_urgent:
            if self._fetch_alarm.at is None:
                self._waker.wake()  # too late for a timer in this round of the loop
        elif room:
            self._bell.listen()
            if self._may_wait(room):
                self._request_behind_bell(room)

    def _attend_while_it_waits(self) -> None:
        if self._is_called or self.leases.has_lost:
            self._ring()
        if self.leases.has_settled and self._wait_s(self._is_urgent(0)) <= 0:
            self._report()

    def _finds_more(self, room: int) -> bool:
        if self._left == FOR_OPEN_ROOM:
            return self._room.open_of(room) > 0
        return self._left == FOR_ANY_ROOM and room > 0

    def _is_urgent(self, room: int) -> bool:
        """Whether there is something to fetch, or a queue waits for what is to be reported."""
        is_awaited = self.leases.has_lost or (self.leases.is_awaited and self.leases.has_news)
        return self._is_called or is_awaited or self._finds_more(room)

    def _may_wait(self, room: int) -> bool:
        """Whether the server knows enough to ring for all that may come."""
        has_room = min(self._open_room_left, self._room.open_of(room)) > 0
        return has_room and self._left == NOTHING and not self.leases.is_awaited

    def _wait_s(self, is_urgent: bool) -> float:
        """Until the next request, so that what happens meanwhile goes with it."""
        return self._last_sent_at + (PACE_S if is_urgent else SETTLED_WITHIN_S) - seconds()

    def _keep_pace(self) -> None:
        """After something happened, in time for the loop's next look at its timers."""
        if self._open_on is self._line or self._is_refused:
            return
        is_urgent = self._is_urgent(self._room.total)
        if is_urgent and self._open_on is None:
            if (wait_s := self._wait_s(is_urgent)) > 0:
                self._fetch_alarm.set(wait_s)
        elif self.leases.has_settled and self._report_alarm.at is None:
            self._report_alarm.set(self._wait_s(is_urgent))

    def _check_alarms(self) -> None:
        if self._fetch_alarm.is_over:
            self._fetch_alarm.clear()
            self._is_called = True
        if self._report_alarm.is_over and not self.leases.has_settled:
            self._report_alarm.clear()  # the heart reported it

    # Sending

    def _request(self, room: int) -> None:
        self._note_sending()
        self._open_on = self._line
        self._line.send(*self._compose(room), then=self._answered, if_lost=self._lost)

    def _request_behind_bell(self, room: int) -> None:
        self._open_on = self._bell.line
        command = self._compose(room, reports=False)
        self._bell.line.send(*command, then=self._answered, if_lost=self._lost, wait_s=BELL_WAIT_S)

    def _compose(self, room: int, *, reports: bool = True) -> tuple[Any, ...]:
        self._is_called = False
        self._open_room_left = self._room.open_of(room)
        request = self.leases.request(room, self._open_room_left, reports=reports)
        return ("EVALSHA", *self.leases.scripts.evalsha("exchange", *request))

    def _report(self) -> None:
        """What was settled while the request waits behind the bell."""
        self._note_sending()
        settled = self.leases.take_settled()
        command = ("EVALSHA", *self.leases.scripts.evalsha("exchange", *self.leases.report(settled, fetches=False)))
        self._line.send(*command, then=partial(self._reported, settled), if_lost=partial(self.leases.put_back, settled))

    def _ring(self) -> None:
        self._doubt_new_connection()
        self._bell.ring(self._line)

    def _note_sending(self) -> None:
        self._doubt_new_connection()
        self._last_sent_at = seconds()
        self._report_alarm.clear()

    def _doubt_new_connection(self) -> None:
        if not self._line.is_connected:
            self.leases.doubt()

    # Hearing

    def _answered(self, answer: Any) -> None:
        line, self._open_on = self._open_on, None
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
                self._fetch_alarm.set(REFUSED_WAIT_S)
            case _:
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
        due_in, self._left, is_awaited, *queues = answer
        self.leases.is_awaited = bool(is_awaited)
        self._fetch_alarm.clear()
        if due_in:
            self._fetch_alarm.set(float(due_in))
        self._open_room_left -= self._handout.take(queues)

    def _lost(self) -> None:
        self._open_on = None
        self.leases.unanswered()

    def _reported(self, settled: list[Settled], answer: Any) -> None:
        if isinstance(answer, ResponseError):  # the next request has the same trouble, and knows what to do
            self.leases.put_back(settled)
            self._is_called = True
        else:
            self.leases.is_awaited = bool(answer[2])
            self._keep_pace()

    def _rung(self) -> None:
        """A request behind the bell is answered now. Without one, it is time to look."""
        self._is_called = self._open_on is not self._bell.line
        self._keep_pace()

    # Ending

    def stop(self) -> None:
        """Takes nothing any more. What an answer on its way brings goes back to the heads of the queues."""
        if self._open_on is not None:
            held = set(self.leases.held)
            self._handout.stop()
            with suppress(*self._channel.connection_errors):
                self._await_answer()
            self.leases.give_back([lease for lease in tuple(self.leases.held) if lease not in held])
        self._close()
        self.leases.tell(None)

    def _await_answer(self) -> None:
        """For a moment."""
        if self._open_on is self._bell.line:
            self._ring()
        while self._open_on is not None and self._open_on.can_hear(LAST_ANSWER_S):
            self._open_on.hear()

    def _close(self) -> None:
        self._fetch_alarm.cancel()
        self._report_alarm.cancel()
        self._waker.close()
        self._line.lose()
        self._bell.line.lose()
