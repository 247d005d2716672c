"""A server that keeps the sender busy is cut off with all exchanges of its owner, and with nobody else's."""

import socket
import time
from concurrent.futures import Future

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import Request
from delivery.sending.arrivals import WORK_MAX_S, Arrivals
from recart_hooks.ports import free_port
from tests.delivery.sending.conftest import Sending
from tests.exchange import Exchange
from tests.receiver import Receiver


def begin(sending: Sending, url: str, owner: str) -> Future[Outcome]:
    return sending.send(Request(url, {}, b"{}", timeout_s=20, owner=owner))


def test_all_exchanges_of_the_owner_end_and_those_of_others_go_on(receiver: Receiver, sending: Sending) -> None:
    theirs = [begin(sending, receiver.url(path), "ptr_1") for path in ("/hang", "/hang?another")]
    of_others = begin(sending, receiver.url("/slow?s=1"), "ptr_2")
    receiver.wait_for(3)
    theirs.append(begin(sending, receiver.url("/endless-extensions"), "ptr_1"))
    for outcome in theirs:
        assert outcome.result(10).error is ErrorClass.INVALID
        assert "keeps the sender busy" in outcome.result().detail
    assert of_others.result(10).succeeded
    assert set(sending.busy) == {"ptr_1"}
    assert begin(sending, receiver.url(), "ptr_1").result(10).succeeded, "who is told decides what follows"


def test_what_begins_while_an_answer_comes_in_pieces_is_not_held_against_it(
    receiver: Receiver, sending: Sending
) -> None:
    """libcurl begins the others within the call for the piece that is ready."""

    def pieces(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n")
        for _ in range(8):
            exchange.send(b"x: y\r\n")
            exchange.wait(0.03)
        exchange.send(b"\r\n")

    receiver.answer("/pieces", pieces)
    slow = begin(sending, receiver.url("/pieces"), "ptr_1")
    receiver.wait_for(1)
    many: list[Future[Outcome]] = []

    def begin_many() -> None:
        many.extend(begin(sending, f"http://127.0.0.1:{closed}/", "ptr_2") for _ in range(500))

    closed = free_port()
    while not slow.done():
        sending.turns.soon(begin_many)
        time.sleep(0.03)  # the load, not a condition: 500 exchanges for each piece
    assert slow.result().succeeded
    assert sending.busy == []
    late = ErrorClass.CONNECT_TIMEOUT  # on a busy machine, thousands of exchanges take longer than that
    assert {outcome.result(30).error for outcome in many} - {late} == {ErrorClass.REFUSED}


def test_who_uses_a_connection_is_blamed_not_who_opened_it(receiver: Receiver, sending: Sending) -> None:
    assert begin(sending, receiver.url(), "ptr_1").result(10).succeeded
    outcome = begin(sending, receiver.url("/endless-extensions"), "ptr_2").result(10)
    assert "keeps the sender busy" in outcome.detail, outcome
    assert receiver.connections == 1
    assert set(sending.busy) == {"ptr_2"}


def test_what_one_exchange_cost_is_not_held_against_the_next_of_its_connection() -> None:
    arrivals = Arrivals()
    one, other = socket.socketpair()
    with one, other:
        for _ in range(3):
            while not arrivals.is_unusual(one.fileno()):
                pass
            assert not arrivals.is_flood(one.fileno())
            assert not arrivals.is_work(one.fileno(), 0.9 * WORK_MAX_S)
            arrivals.forget(one.fileno())
