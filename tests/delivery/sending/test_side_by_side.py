"""Many libcurl exchanges run in one thread without affecting each other."""

import threading
from concurrent.futures import Future

import pytest

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import Request
from delivery.sending.request import Keep
from tests.delivery.sending.conftest import Names, Sending
from tests.receiver import Receiver


def test_two_hundred_hanging_requests_delay_no_other(sending: Sending, receiver: Receiver) -> None:
    hanging = [sending.send(Request(receiver.url("/hang"), {}, b"{}", timeout_s=3)) for _ in range(200)]
    receiver.wait_until(lambda: len(receiver.requests) >= 200)
    for _ in range(20):
        assert sending.send(Request(receiver.url("/ok"), {}, b"{}")).result(2).succeeded
    assert not any(one.done() for one in hanging)
    assert {one.result(30).error for one in hanging} == {ErrorClass.TIMEOUT}


def test_an_exception_in_a_callback_does_not_affect_others(
    sending: Sending, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_: Outcome) -> None:
        raise ValueError("a mistake")

    def begin_all() -> None:
        for then in (others[0].set_result, breaks, others[1].set_result):
            sending.sender.begin(Request(receiver.url("/ok"), {}, b"{}"), sending.turns, then)

    others: list[Future[Outcome]] = [Future(), Future()]
    sending.turns.soon(begin_all)
    assert all(one.result(10).succeeded for one in others)
    sending.turns.stop(10)
    assert [record.message for record in caplog.records] == ["ending an exchange raised an exception"]


def test_the_thread_ends_only_after_exchanges_that_began(sending: Sending, receiver: Receiver) -> None:
    gate = threading.Event()
    slow = sending.send(Request(receiver.url("/hang"), {}, b"{}", timeout_s=0.5))
    receiver.wait_until(lambda: bool(receiver.requests))
    sending.turns.soon(gate.set)
    assert gate.wait(10)
    sending.turns.stop(30)
    assert slow.done()


def test_a_name_that_comes_back_to_an_address_is_followed_by_every_handle() -> None:
    """Handles share one cache of addresses, which may not have the address that a handle was given last."""
    with Receiver() as first:
        try:
            second = Receiver(host="127.0.0.2", port=first.port)
        except OSError:
            pytest.skip("only Linux has all of 127.0.0.0/8")
        names = Names(hooks_example_com=["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.1"])
        sending = Sending(names, Keep(age_s=0))
        with second:

            def post(path: str, timeout_s: float = 5.0) -> Request:
                return Request(first.url(path, host="hooks.example.com"), {}, b"{}", timeout_s=timeout_s)

            slow = [sending.send(post("/hang", 1.0)) for _ in range(2)]  # two handles with the first address
            assert [one.result(10).error for one in slow] == [ErrorClass.TIMEOUT] * 2
            assert sending.send(post("/ok")).result(10).succeeded
            assert len(second.requests) == 1
            elsewhere = Request(first.url("/hang"), {}, b"{}", timeout_s=1.0)
            other = sending.send(elsewhere)  # uses the handle of the last request
            assert sending.send(post("/ok")).result(10).succeeded
            other.result(10)
            assert len(second.requests) == 1
        sending.close()
