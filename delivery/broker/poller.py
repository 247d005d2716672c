# mypy: disable-error-code="no-untyped-call, misc, attr-defined, func-returns-value"
"""Kombu's poller, extended by the connections that fetch from fair queues (intake.py)."""

from typing import Any

from kombu.transport import redis as stock

EXCHANGE, BELL, WAKER = KINDS = ("EXCHANGE", "BELL", "WAKER")


class FairPoller(stock.MultiChannelPoller):
    """`hub` is Celery's event loop; None without one (gevent, plain kombu consumers)."""

    hub: Any = None

    def on_poll_start(self) -> None:
        super().on_poll_start()
        for channel in self._channels:
            if channel.intake is not None:
                channel.intake.advance()

    def on_readable(self, fileno: int) -> None:
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind in KINDS:
            channel.handlers[kind]()  # also without room for more messages: an answer must be read
        else:
            super().on_readable(fileno)

    def handle_event(self, fileno: int, event: int) -> Any:
        if self._fd_to_chan.get(fileno, (None, None))[1] in KINDS:
            return self.on_readable(fileno), self
        return super().handle_event(fileno, event)

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Waits no longer than until an intake's next alarm: without an event loop there are no timers."""
        for channel in self._channels:
            if channel.intake is not None and (due_in_s := channel.intake.due_in_s()) is not None:
                timeout = due_in_s if timeout is None else min(timeout, due_in_s)
        super().get(callback, timeout=timeout)

    def maybe_check_brpop_health(self) -> None:
        super().maybe_check_brpop_health()
        for channel in self._channels:
            if channel.intake is not None:
                channel.intake.check_health()

    @property
    def fds(self) -> dict[int, Any]:
        """File descriptors that the event loop does not watch yet. Adding one again costs a system call."""
        watched = () if self.hub is None else self.hub.readers
        return {fd: value for fd, value in super().fds.items() if fd not in watched}

    def watch(self, channel: Any, client: Any, kind: str) -> None:
        """Connects the client if necessary, and watches its connection."""
        if not self._client_registered(channel, client, kind):
            self._register(channel, client, kind)

    def watch_socket(self, channel: Any, sock: Any, kind: str) -> None:
        self._fd_to_chan[sock.fileno()] = (channel, kind)
        self.poller.register(sock, self.eventflags)

    def unwatch_socket(self, sock: Any) -> None:
        self._fd_to_chan.pop(sock.fileno(), None)
        if self.hub is not None:
            self.hub.remove(sock)
        else:
            self.poller.unregister(sock)
