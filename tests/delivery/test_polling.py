import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from delivery.polling import READS, WRITES, Epoll, Poll, Poller

IMPLEMENTATIONS = [Poll, *([Epoll] if hasattr(select, "epoll") else [])]
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=IMPLEMENTATIONS)
def poller(request: pytest.FixtureRequest) -> Poller:
    made: Poller = request.param()
    return made


@pytest.fixture
def pair() -> Iterator[Callable[[], Pair]]:
    with ExitStack() as stack:

        def make() -> Pair:
            ours, theirs = socket.socketpair()
            return stack.enter_context(ours), stack.enter_context(theirs)

        yield make


def test_sockets_are_ready_for_what_was_asked(poller: Poller, pair: Callable[[], Pair]) -> None:
    (reads, peer), (writes, _), (both, _), (idle, _) = (pair() for _ in range(4))
    peer.send(b"x")
    poller.add(reads.fileno(), READS)
    poller.add(writes.fileno(), WRITES)
    poller.add(both.fileno(), READS | WRITES)
    poller.add(idle.fileno(), READS)
    assert set(poller.wait(10)) == {(reads.fileno(), READS), (writes.fileno(), WRITES), (both.fileno(), WRITES)}


def test_nothing_is_ready_until_the_time_is_over(poller: Poller, pair: Callable[[], Pair]) -> None:
    ours, _ = pair()
    poller.add(ours.fileno(), READS)
    assert list(poller.wait(0.01)) == []
    poller.change(ours.fileno(), WRITES)
    assert list(poller.wait(None)) == [(ours.fileno(), WRITES)]
    poller.remove(ours.fileno())
    assert list(poller.wait(0)) == []


def test_a_closed_peer_makes_a_socket_ready_for_everything(poller: Poller, pair: Callable[[], Pair]) -> None:
    ours, theirs = pair()
    poller.add(ours.fileno(), READS)
    theirs.close()
    assert list(poller.wait(10)) == [(ours.fileno(), READS | WRITES)]


@pytest.fixture
def replaced(poller: Poller, pair: Callable[[], Pair]) -> Iterator[int]:
    """The number of a watched socket that was closed, and is another's by now, which can be read."""
    (gone, _), (ours, theirs) = pair(), pair()
    number = gone.detach()
    poller.add(number, READS)
    os.dup2(ours.fileno(), number)
    theirs.send(b"x")
    yield number
    os.close(number)


def test_a_number_may_be_another_sockets_by_now(poller: Poller, replaced: int) -> None:
    poller.change(replaced, READS)
    assert list(poller.wait(10)) == [(replaced, READS)]
    poller.remove(replaced)
    assert list(poller.wait(0)) == []


def test_a_number_that_another_socket_took_can_be_removed(poller: Poller, replaced: int) -> None:
    poller.remove(replaced)
    assert list(poller.wait(0)) == []
