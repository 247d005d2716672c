# mypy: disable-error-code="no-untyped-call"
"""Keeps a worker supplied with messages from the fair queues.

A request (lua/exchange.lua) reports settled messages and fetches as many new ones as there is room for. Only one is
under way at a time; messages settled meanwhile are reported by the next. When nothing is left to fetch, a second
connection blocks on the worker's bell with the next request behind it, which the server answers as soon as the bell
rings. Messages settled while that request waits are reported on the first connection. Nothing is polled, except once a
second in case a ring was lost.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from delivery.broker.bell import BELL_WAIT_S, Bell
from delivery.broker.connection import WorkerConnection
from delivery.broker.handout import Handout
from delivery.broker.leases import Leases, Settlement, seconds
from delivery.broker.poller import BELL, EXCHANGE
from delivery.broker.received import Received
from delivery.broker.room import NOTHING, Room
from delivery.broker.waking import SHORTEST_S, Alarm, Throttle, Waker

logger = logging.getLogger("fair_broker")

REFUSED_WAIT_S = 1.0
LAST_ANSWER_S = 1.0


class Intake:
    """Belongs to one channel and its event loop's thread. Connection errors go up to kombu, which connects again."""

    def __init__(self, channel: Any, leases: Leases, callback: Callable[[Received], Any], *, no_ack: bool) -> None:
        self.leases = leases
        self._channel = channel
        self._room = Room(channel)
        self._handout = Handout(channel, callback, no_ack=no_ack)
        self._connection = WorkerConnection(channel, EXCHANGE)
        key = leases.scripts.naming.key("bell", leases.worker)
        self._bell = Bell(WorkerConnection(channel, BELL), key, leases.max_answer_age_s / 2, self._on_ring)
        self._pending_on: WorkerConnection | None = None
        """The connection of the request that is under way."""
        self._throttle = Throttle()
        self._should_fetch = True
        """There may be something to fetch that the last answer did not tell of."""
        self._left_to_fetch = NOTHING
        self._open_room_left = 0
        """As the server knows it: by the last request and its answer."""
        self._is_refused = False
        """The server answered with an error (its disk is full, say): the next request waits."""
        self._waker = Waker(channel, self._set_alarms)
        self._fetch_alarm = Alarm(channel, self._waker.wake)
        self._report_alarm = Alarm(channel, self._waker.wake)
        leases.set_reporter(self._waker.wake)

    # What the poller calls

    def advance(self) -> None:
        """Sends what is to be sent. Called before each wait for events."""
        self._check_alarms()
        if self._is_refused and self._fetch_alarm.at is not None:
            return
        if self._pending_on is None:
            self._request_or_listen(self._room.total)
        elif self._pending_on is self._bell.connection:
            self._report_or_ring()

    def due_in_s(self) -> float | None:
        times = [alarm.at for alarm in (self._fetch_alarm, self._report_alarm) if alarm.at is not None]
        return max(SHORTEST_S, min(times) - seconds()) if times else None

    def check_health(self) -> None:
        for connection in (self._connection, self._bell.connection):
            connection.check_health()

    # When to send

    def _request_or_listen(self, room: int) -> None:
        is_urgent = self._is_urgent(room)
        if (is_urgent or self.leases.must_report) and self._throttle.wait_s(is_urgent) <= 0:
            self._request(room)
        elif is_urgent:
            if self._fetch_alarm.at is None:
                self._waker.wake()  # too late for a timer: the loop has looked at them
        elif room or self._open_room_left > 0:  # the server rings for what it knows of
            self._bell.listen()
            if room and self._may_wait_behind_bell(room):
                self._request_behind_bell(room)

    def _report_or_ring(self) -> None:
        if self._should_fetch or self.leases.has_lost_request:
            self._ring()
        if self.leases.has_settlements and self._throttle.wait_s(self._is_urgent(0)) <= 0:
            self._report()

    def _is_urgent(self, room: int) -> bool:
        """Whether there is something to fetch, a queue at its cap waits for a report, or the server would not ring
        because it knows of no open room."""
        is_awaited = self.leases.has_lost_request or (self.leases.is_awaited and self.leases.must_report)
        is_unknown = self._open_room_left <= 0 < self._room.open_of(room)
        return self._should_fetch or is_awaited or is_unknown or self._room.is_enough(room, self._left_to_fetch)

    def _may_wait_behind_bell(self, room: int) -> bool:
        """Whether the server would ring for every message that the worker has room for."""
        has_room = min(self._open_room_left, self._room.open_of(room)) > 0
        return has_room and self._left_to_fetch == NOTHING and not self.leases.is_awaited

    def _set_alarms(self) -> None:
        """Called after each event, because timers that are set in `advance` are too late for the loop's next wait."""
        if self._pending_on is self._connection or self._is_refused:
            return
        is_urgent = self._is_urgent(self._room.total)
        if is_urgent and self._pending_on is None:
            if (wait_s := self._throttle.wait_s(is_urgent)) > 0:
                self._fetch_alarm.set(wait_s)
        elif self.leases.has_settlements and self._report_alarm.at is None:
            self._report_alarm.set(self._throttle.wait_s(is_urgent))

    def _check_alarms(self) -> None:
        if self._fetch_alarm.is_over:
            self._fetch_alarm.clear()
            self._should_fetch = True
        if self._report_alarm.is_over and not self.leases.has_settlements:
            self._report_alarm.clear()  # the heart reported it

    # Sending

    def _request(self, room: int) -> None:
        self._note_sending()
        self._pending_on = self._connection
        self._connection.send(*self._command(room), on_reply=self._on_answer, on_lost=self._on_lost)

    def _request_behind_bell(self, room: int) -> None:
        self._pending_on = self._bell.connection
        command = self._command(room, reports=False)
        self._bell.connection.send(*command, on_reply=self._on_answer, on_lost=self._on_lost, wait_s=BELL_WAIT_S)

    def _command(self, room: int, *, reports: bool = True) -> tuple[Any, ...]:
        self._should_fetch = False
        self._open_room_left = self._room.open_of(room)
        request = self.leases.request_arguments(room, self._open_room_left, reports=reports)
        return self.leases.scripts.command("exchange", *request)

    def _report(self) -> None:
        """Reports messages that were settled while a request waits behind the bell."""
        self._note_sending()
        settled = self.leases.take_settlements()
        command = self.leases.scripts.command("exchange", *self.leases.report_arguments(settled, ends_wait=False))
        answered, lost = partial(self._on_report_answered, settled), partial(self.leases.report_again, settled)
        self._connection.send(*command, on_reply=answered, on_lost=lost)

    def _ring(self) -> None:
        self._reconcile_if_new()
        self._bell.ring(self._connection)

    def _note_sending(self) -> None:
        self._reconcile_if_new()
        self._throttle.note_request()
        self._report_alarm.clear()

    def _reconcile_if_new(self) -> None:
        if not self._connection.is_connected:
            self.leases.reconcile()

    # Receiving

    def _on_answer(self, answer: Any) -> None:
        connection, self._pending_on = self._pending_on, None
        match answer:
            case NoScriptError():
                self.leases.request_refused()
                self.leases.scripts.load("exchange")
                self._should_fetch = True
                self._set_alarms()
            case redis.exceptions.ReadOnlyError():
                self._on_lost()
                if connection is not None:
                    connection.disconnect()
                raise redis.exceptions.ConnectionError("the broker is a replica now")
            case ResponseError():
                if not self._is_refused:
                    logger.warning("the broker refuses to exchange messages: %s", answer)
                self._is_refused = True
                self._on_lost()
                self._fetch_alarm.set(REFUSED_WAIT_S)
            case _:
                self._take_answer(answer)
                self._set_alarms()

    def _take_answer(self, answer: list[Any]) -> None:
        if not self.leases.request_answered():
            logger.warning("an answer came too late: its messages go back")
            self._should_fetch = True
            return
        if self._is_refused:
            logger.info("the broker exchanges messages again")
        self._is_refused = False
        due_in, self._left_to_fetch, is_awaited, *queues = answer
        self.leases.is_awaited = bool(is_awaited)
        self._fetch_alarm.clear()
        if due_in:
            self._fetch_alarm.set(float(due_in))
        self._open_room_left -= self._handout.hand_out(queues)

    def _on_lost(self) -> None:
        self._pending_on = None
        self.leases.request_lost()

    def _on_report_answered(self, settled: list[Settlement], answer: Any) -> None:
        if isinstance(answer, ResponseError):  # the next request gets the same error, and handles it
            self.leases.report_again(settled)
            self._should_fetch = True
        else:
            self.leases.is_awaited = bool(answer[2])
            self._set_alarms()

    def _on_ring(self) -> None:
        """The server answers a request behind the bell now; without one, a request is due."""
        self._should_fetch = self._pending_on is not self._bell.connection
        self._set_alarms()

    # Ending

    def stop(self) -> None:
        """Fetches nothing more. Messages of an answer on its way return to the heads of their queues."""
        if self._pending_on is not None:
            held = set(self.leases.held)
            self._handout.stop()
            with suppress(*self._channel.connection_errors):
                self._await_answer()
            self.leases.give_back([lease for lease in tuple(self.leases.held) if lease not in held])
        self._fetch_alarm.cancel()
        self._report_alarm.cancel()
        self._waker.close()
        self._connection.disconnect()
        self._bell.connection.disconnect()
        self.leases.set_reporter(None)

    def _await_answer(self) -> None:
        if self._pending_on is self._bell.connection:
            self._ring()
        while self._pending_on is not None and self._pending_on.has_reply(LAST_ANSWER_S):
            self._pending_on.read_replies()
