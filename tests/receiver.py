"""A partner's endpoint: a real HTTP or HTTPS server that keeps every request and behaves as its path says.

    with Receiver() as receiver:
        send_to(receiver.url("/ok"))
        [request] = receiver.wait_for(1)

The path selects the behaviour (tests/behaviours.py lists them: `/ok`, `/status/410`, `/reset`, `/drip` …). `answer`
sets other behaviours for the next requests to a path. The server uses raw sockets, so that it can send any bytes, and a
thread per connection. To run it as a process of its own: `python -m tests.receiver --port 9000`.
"""

import argparse
import base64
import contextlib
import json
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

from tests.behaviours import behaviour_of
from tests.exchange import Behaviour, Exchange, Received, read_request

OnConnect = Callable[[socket.socket], socket.socket]
"""Wraps an accepted connection, mostly in TLS. It may also break the connection and raise OSError."""


class Receiver:
    """Listens from its construction until `close`. `requests` holds all requests in the order of arrival."""

    def __init__(
        self,
        *,
        on_connect: OnConnect | None = None,
        on_request: Callable[[Received], None] | None = None,
        scheme: str = "http",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._on_connect = on_connect
        self._on_request = on_request
        self._scheme = scheme
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._requests: list[Received] = []
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._ordinals: dict[str, dict[str, int]] = {}
        self._answers: dict[str, list[Behaviour]] = {}
        self._open: set[socket.socket] = set()
        self.connections = 0
        """How many connections were accepted."""
        self.connections_ended = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self.host = f"[{host}]" if ":" in host else host
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"receiver-{self.port}", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, path: str = "/ok", host: str = "") -> str:
        return f"{self._scheme}://{host or self.host}:{self.port}{path}"

    @property
    def requests(self) -> list[Received]:
        with self._changed:
            return list(self._requests)

    def clear(self) -> None:
        """Forgets the requests and the number of tries of each id."""
        with self._changed:
            self._requests.clear()
            self._attempts.clear()
            self._ordinals.clear()

    def answer(self, path: str, *behaviours: Behaviour) -> None:
        """Sets behaviours for the next requests to this path (without query), one each. The last one stays in force."""
        with self._changed:
            self._answers[path] = list(behaviours)

    def wait_for(
        self, count: int, timeout_s: float = 10.0, where: Callable[[Received], bool] | None = None
    ) -> list[Received]:
        """Waits for `count` requests (for which `where` is true). The AssertionError lists what came instead."""

        def found() -> list[Received]:
            return self._requests if where is None else [request for request in self._requests if where(request)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout_s):
                came = Counter(request.path for request in self._requests)
                raise AssertionError(f"{len(found())} of {count} requests within {timeout_s} s; in all: {dict(came)}")
            return list(found())

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Waits for a condition that is not a number of requests. It is checked after every change of the receiver."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise AssertionError(f"the condition did not become true within {timeout_s} s")

    def drop_connections(self) -> None:
        """Closes every open connection, as servers do with idle ones. New ones are accepted."""
        with self._changed:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                self._changed.notify_all()
                number = self.connections
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = raw
        try:
            with self._changed:
                self._open.add(raw)
            if self._on_connect is not None:
                connection = self._on_connect(raw)
                with self._changed:
                    self._open.add(connection)
            self._converse(connection, number)
        except (OSError, ValueError):  # the client went away, or its bytes were not HTTP: nothing to answer
            pass
        finally:
            with self._changed:
                self._open -= {raw, connection}
            connection.close()
            with self._changed:
                self.connections_ended += 1
                self._changed.notify_all()

    def _converse(self, connection: socket.socket, number: int) -> None:
        pending = b""
        while True:
            read = read_request(connection, pending, number)
            if read is None:
                return
            request, pending = read
            exchange, behave = self._keep(connection, request)
            behave(exchange)
            if not exchange.keep or self._stopping.is_set():
                return

    def _keep(self, connection: socket.socket, request: Received) -> tuple[Exchange, Behaviour]:
        path = request.path.partition("?")[0]
        with self._changed:
            self._requests.append(request)
            self._attempts[path, request.webhook_id] += 1
            ordinals = self._ordinals.setdefault(path, {})
            exchange = Exchange(
                connection,
                request,
                attempt=self._attempts[path, request.webhook_id],
                ordinal=ordinals.setdefault(request.webhook_id, len(ordinals) + 1),
                stopping=self._stopping,
            )
            answers = self._answers.get(path)
            behave = answers[0] if answers else behaviour_of(request.path)
            if answers and len(answers) > 1:
                del answers[0]
            self._changed.notify_all()
        if self._on_request is not None:
            self._on_request(request)
        return exchange, behave


def over_tls(context: ssl.SSLContext) -> OnConnect:
    return lambda connection: context.wrap_socket(connection, server_side=True)


def main() -> None:
    """Prints its address as a line of JSON, then a line for each request."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with Receiver(host=arguments.host, port=arguments.port, on_request=_print_request) as receiver:
        _print({"url": receiver.url("")})
        threading.Event().wait()


def _print_request(request: Received) -> None:
    _print(
        {
            "path": request.path,
            "headers": dict(request.header_lines),
            "body": base64.b64encode(request.body).decode(),
            "arrived_at": request.arrived_at,
        }
    )


def _print(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
