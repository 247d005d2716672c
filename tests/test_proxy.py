"""Tests of the proxy, on which the fault tests rely."""

import socket
from collections.abc import Iterator

import pytest

from tests.proxy import Proxy
from tests.receiver import Receiver

REQUEST = b"POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture
def wire() -> Iterator[Proxy]:
    with Receiver() as receiver, Proxy(("127.0.0.1", receiver.port)) as made:
        yield made


def ask(connection: socket.socket) -> bytes:
    connection.sendall(REQUEST)
    return connection.recv(1000)


def test_it_carries_until_it_is_cut_and_again_when_mended(wire: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", wire.port), timeout=10) as connection:
        assert ask(connection).startswith(b"HTTP/1.1 200")
        wire.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    wire.mend()
    with socket.create_connection(("127.0.0.1", wire.port), timeout=10) as connection:
        assert ask(connection).startswith(b"HTTP/1.1 200")


def test_what_is_held_arrives_when_it_is_mended(wire: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", wire.port), timeout=10) as connection:
        assert ask(connection).startswith(b"HTTP/1.1 200")
        wire.hold()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(connection)
        wire.mend()
        connection.settimeout(10)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
