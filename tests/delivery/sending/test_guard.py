"""A call that reads without end is freed; others are left alone."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from delivery.sending.guard import LONGEST_CALL_S, LOOK_EACH_S, Guard

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing is guarded here")


@contextmanager
def flooded() -> Iterator[socket.socket]:
    """A socket at which something comes all the time."""

    def flood() -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                while True:
                    connection.sendall(b"x" * 65_536)
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        with socket.create_connection(listening.getsockname()) as reading:
            reading.setblocking(False)
            yield reading
        thread.join(10)


def read_all(reading: socket.socket) -> None:
    """Reads from a TCP socket for as long as something may come, as OpenSSL does."""
    until = time.monotonic() + 30
    while is_tcp(reading):
        assert time.monotonic() < until, "the call was not freed"
        with suppress(BlockingIOError):
            if not reading.recv(100):
                return


def is_tcp(reading: socket.socket) -> bool:
    try:
        return bool(reading.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
    except OSError:
        return False


def is_at_rest(guard: Guard) -> bool:
    return guard.rests


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


def test_a_call_that_reads_without_end_is_freed_and_its_owner_known(guard: Guard) -> None:
    with flooded() as reading, flooded() as other, flooded() as closed:
        for number, one in enumerate((other, reading, closed)):
            guard.owns(one.fileno(), f"ptr_{number}", has_tls=True)
        closed.close()
        guard.begins()
        read_all(reading)
        assert guard.ends() == ["ptr_1"]
        assert guard.ends() == ()
        assert other.recv(1) == b"x"


def test_a_call_may_read_from_several_sockets_and_owners_without_end(guard: Guard) -> None:
    with flooded() as one, flooded() as another, flooded() as of_others:
        for reading, owner in ((one, "ptr_1"), (another, "ptr_1"), (of_others, "ptr_2")):
            guard.owns(reading.fileno(), owner, has_tls=True)
        guard.begins()
        read_all(one)
        read_all(another)  # the guard silences one after the other
        read_all(of_others)
        assert guard.ends() == ["ptr_1", "ptr_2"]


def test_a_call_that_takes_long_for_itself_is_left_alone(guard: Guard) -> None:
    """As when libcurl loads the authorities, at the first TLS connection."""
    with flooded() as reading:
        guard.owns(reading.fileno(), "ptr_1", has_tls=True)
        guard.begins()
        until = time.thread_time() + 10 * LONGEST_CALL_S
        while time.thread_time() < until:
            pass
        assert guard.ends() == ()
        assert is_tcp(reading)


def test_a_call_that_only_waits_is_left_alone(guard: Guard) -> None:
    with flooded() as reading:
        guard.owns(reading.fileno(), "ptr_1", has_tls=True)
        guard.begins()
        time.sleep(LOOK_EACH_S * 10)
        assert guard.ends() == ()
        assert is_tcp(reading)


def test_many_short_calls_are_left_alone(guard: Guard) -> None:
    with flooded() as reading:
        guard.owns(reading.fileno(), "ptr_1", has_tls=True)
        until = time.monotonic() + LOOK_EACH_S * 10
        while time.monotonic() < until:
            guard.begins()
            with suppress(BlockingIOError):
                reading.recv(1000)
            assert guard.ends() == ()
        assert is_tcp(reading)


def test_it_rests_while_no_connection_has_tls(guard: Guard) -> None:
    with flooded() as reading, flooded() as with_tls:
        guard.owns(reading.fileno(), "ptr_1", has_tls=False)
        assert is_at_rest(guard)
        guard.owns(with_tls.fileno(), "ptr_1", has_tls=True)
        assert not is_at_rest(guard)
    deadline = time.monotonic() + 30
    while not guard.rests:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with flooded() as reading:
        guard.owns(reading.fileno(), "ptr_1", has_tls=True)
        guard.begins()
        read_all(reading)
        assert guard.ends() == ["ptr_1"]


def test_what_is_still_open_at_the_end_is_silenced(guard: Guard) -> None:
    with flooded() as reading:
        guard.owns(reading.fileno(), "ptr_1", has_tls=True)
        guard.close()
        assert reading.recv(1) == b""


def test_all_sockets_of_an_owner_are_silenced(guard: Guard) -> None:
    with flooded() as one, flooded() as another, flooded() as of_others:
        for reading, owner in ((one, "ptr_1"), (another, "ptr_1"), (of_others, "ptr_2")):
            guard.owns(reading.fileno(), owner, has_tls=True)
        guard.silence("ptr_1")
        assert [is_tcp(reading) for reading in (one, another, of_others)] == [False, False, True]
        assert one.recv(1) == b""


def test_it_may_outlive_its_thread() -> None:
    """Pytest reports an exception of any thread."""
    made: list[Guard] = []

    def work() -> None:
        made.append(Guard())
        made[0].begins()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    time.sleep(LOOK_EACH_S * 5)
    made[0].close()
