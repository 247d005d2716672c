"""A server that keeps the sender busy is cut off with all exchanges of its owner, and with nobody else's."""

import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import Request
from delivery.sending.curl_sender import CurlSender
from delivery.turns import Turns
from recart_hooks.ports import free_port
from tests.delivery.sending.conftest import LOOPBACK
from tests.exchange import Exchange
from tests.receiver import Receiver


class Sending:
    def __init__(self) -> None:
        self.busy: list[str] = []
        self.turns = Turns("test", helpers=1)
        self.turns.start()
        self._sender = CurlSender(LOOPBACK, on_busy=self.busy.append)

    def begin(self, url: str, owner: str) -> Future[Outcome]:
        outcome: Future[Outcome] = Future()
        request = Request(url, {}, b"{}", timeout_s=20, owner=owner)
        self.turns.soon(lambda: self._sender.begin(request, self.turns, outcome.set_result))
        return outcome

    def close(self) -> None:
        self.turns.stop(10)
        self._sender.close()


@pytest.fixture
def sending() -> Iterator[Sending]:
    made = Sending()
    yield made
    made.close()


def test_all_exchanges_of_the_owner_end_and_those_of_others_go_on(receiver: Receiver, sending: Sending) -> None:
    theirs = [sending.begin(receiver.url(path), "ptr_1") for path in ("/hang", "/hang?another")]
    of_others = sending.begin(receiver.url("/slow?s=1"), "ptr_2")
    receiver.wait_for(3)
    theirs.append(sending.begin(receiver.url("/endless-extensions"), "ptr_1"))
    for outcome in theirs:
        assert outcome.result(10).error is ErrorClass.INVALID
        assert "keeps the sender busy" in outcome.result().detail
    assert of_others.result(10).succeeded
    assert set(sending.busy) == {"ptr_1"}
    assert sending.begin(receiver.url(), "ptr_1").result(10).succeeded, "who is told decides what follows"


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
    slow = sending.begin(receiver.url("/pieces"), "ptr_1")
    receiver.wait_for(1)
    many: list[Future[Outcome]] = []

    def begin_many() -> None:
        many.extend(sending.begin(f"http://127.0.0.1:{closed}/", "ptr_2") for _ in range(500))

    closed = free_port()
    while not slow.done():
        sending.turns.soon(begin_many)
        time.sleep(0.03)  # the load, not a condition: 500 exchanges for each piece
    assert slow.result().succeeded
    assert sending.busy == []
    assert {outcome.result(30).error for outcome in many} == {ErrorClass.REFUSED}


def test_who_uses_a_connection_is_blamed_not_who_opened_it(receiver: Receiver, sending: Sending) -> None:
    assert sending.begin(receiver.url(), "ptr_1").result(10).succeeded
    outcome = sending.begin(receiver.url("/endless-extensions"), "ptr_2").result(10)
    assert "keeps the sender busy" in outcome.detail, outcome
    assert receiver.connections == 1
    assert set(sending.busy) == {"ptr_2"}
