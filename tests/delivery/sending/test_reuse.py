"""Connections are kept open, and those that the server closed are noticed."""

import ssl
from collections.abc import Callable

import pytest

from delivery.outcomes import ErrorClass
from delivery.sending import Request, Sender
from delivery.sending.request import Keep
from tests.certificates import Authority
from tests.delivery.sending.conftest import MakeSender, Names
from tests.exchange import Exchange
from tests.receiver import Receiver, over_tls


def post(receiver: Receiver, path: str = "/ok", host: str = "", timeout_s: float = 5.0) -> Request:
    return Request(receiver.url(path, host=host), {"webhook-id": "evt_1"}, b"{}", timeout_s=timeout_s)


def test_one_connection_serves_many_requests(sender: Sender, receiver: Receiver) -> None:
    for path in ("/ok", "/status/500", "/empty", "/chunks", "/big?bytes=65536", "/status/404", "/ok"):
        sender.send(post(receiver, path))
    assert len(receiver.requests) == 7
    assert receiver.connections <= 2  # `/chunks` closes


def test_the_bytes_of_earlier_answers_on_a_connection_do_not_count(sender: Sender, receiver: Receiver) -> None:
    def in_pieces(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
        exchange.drip(iter([b"x" * 10_000] * 6), every_s=0.005)

    receiver.answer("/pieces", in_pieces)
    assert {sender.send(post(receiver, "/pieces")).error for _ in range(25)} == {None}, "1.5 MB in all"
    assert receiver.connections == 1


def test_a_connection_that_was_flooded_is_not_used_again(sender: Sender, receiver: Receiver) -> None:
    sender.send(post(receiver))
    assert sender.send(post(receiver, "/endless-extensions")).error is ErrorClass.INVALID
    assert sender.send(post(receiver)).succeeded
    assert receiver.connections == 2


def test_a_connection_the_server_closes_as_it_said_is_not_used_again(sender: Sender, receiver: Receiver) -> None:
    for _ in range(3):
        assert sender.send(post(receiver, "/no-keep-alive")).succeeded
    assert (receiver.connections, len(receiver.requests)) == (3, 3)


def test_a_connection_the_server_closed_while_it_was_idle_is_replaced(sender: Sender, receiver: Receiver) -> None:
    for _ in range(5):
        assert sender.send(post(receiver)).succeeded
        receiver.drop_connections()
    assert len(receiver.requests) == 5


def test_a_server_that_lies_about_keeping_connections_open_loses_nothing(sender: Sender, receiver: Receiver) -> None:
    for _ in range(20):
        assert sender.send(post(receiver, "/lying-keep-alive")).succeeded
    assert len(receiver.requests) >= 20


def close_before_answering(exchange: Exchange) -> None:
    exchange.close()


def test_a_request_that_a_kept_connection_swallowed_is_sent_once_more_on_a_new_one(
    sender: Sender, receiver: Receiver
) -> None:
    """At least once: the endpoint may have processed the first request, and gets the same webhook-id again."""
    receiver.answer("/second", close_before_answering, Exchange.answer)
    sender.send(post(receiver))
    assert sender.send(post(receiver, "/second")).succeeded
    assert [request.path for request in receiver.requests] == ["/ok", "/second", "/second"]
    assert receiver.connections == 2


def test_a_request_is_sent_once_more_at_most(sender: Sender, receiver: Receiver) -> None:
    receiver.answer("/second", close_before_answering)
    sender.send(post(receiver))
    assert sender.send(post(receiver, "/second")).error is ErrorClass.RESET
    assert [request.path for request in receiver.requests] == ["/ok", "/second", "/second"]


def test_a_request_on_a_new_connection_is_never_sent_twice(sender: Sender, receiver: Receiver) -> None:
    assert sender.send(post(receiver, "/close")).error is ErrorClass.RESET
    assert sender.send(post(receiver, "/reset")).error is ErrorClass.RESET
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("path", ["/truncated", "/truncated-head", "/garbage", "/bad-chunk", "/big", "/interim-only"])
def test_a_request_that_was_answered_in_part_is_not_sent_again(sender: Sender, receiver: Receiver, path: str) -> None:
    sender.send(post(receiver))
    assert not sender.send(post(receiver, path)).succeeded
    assert len(receiver.requests) == 2


def test_a_request_that_timed_out_on_a_kept_connection_is_not_sent_again(sender: Sender, receiver: Receiver) -> None:
    sender.send(post(receiver))
    assert sender.send(post(receiver, "/hang", timeout_s=0.3)).error is ErrorClass.TIMEOUT
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("path", ["/big", "/garbage", "/drip", "/truncated", "/endless-headers", "/two-answers"])
def test_what_is_left_of_a_bad_answer_does_not_reach_the_next_request(
    sender: Sender, receiver: Receiver, path: str
) -> None:
    sender.send(post(receiver, path, timeout_s=0.3))
    for _ in range(2):
        outcome = sender.send(post(receiver))
        assert (outcome.status_code, outcome.response_excerpt) == (200, "ok")


def test_an_answer_nobody_asked_for_is_not_taken_for_the_next_one(sender: Sender, receiver: Receiver) -> None:
    def twice(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nX")

    receiver.answer("/twice", twice)
    assert sender.send(post(receiver, "/twice")).response_excerpt == "first"
    assert sender.send(post(receiver)).response_excerpt == "ok"


def test_a_kept_connection_needs_no_look_up(make_sender: MakeSender, receiver: Receiver) -> None:
    names = Names(hooks_example_com=["127.0.0.1"])
    sender = make_sender(resolve=names)
    for _ in range(3):
        assert sender.send(post(receiver, host="hooks.example.com")).succeeded
    assert (names.asked, receiver.connections) == (["hooks.example.com"], 1)


@pytest.mark.parametrize("keep", [Keep(age_s=0), Keep(idle_s=0)])
def test_a_connection_too_old_is_replaced_and_its_name_looked_up_again(
    make_sender: MakeSender, receiver: Receiver, keep: Keep
) -> None:
    names = Names(hooks_example_com=["127.0.0.1"])
    sender = make_sender(resolve=names, keep=keep)
    for _ in range(3):
        assert sender.send(post(receiver, host="hooks.example.com")).succeeded
    assert (names.asked, receiver.connections) == (["hooks.example.com"] * 3, 3)


def test_a_name_with_a_new_address_is_followed_when_the_old_connection_ends(make_sender: MakeSender) -> None:
    with Receiver() as old:
        names = Names(hooks_example_com=["127.0.0.1", "127.0.0.2"])
        sender = make_sender(resolve=names)
        assert sender.send(post(old, "/no-keep-alive", host="hooks.example.com")).succeeded
        try:
            moved = Receiver(host="127.0.0.2", port=old.port)
        except OSError:
            pytest.skip("only Linux has all of 127.0.0.0/8")
        with moved:
            assert sender.send(post(old, host="hooks.example.com")).succeeded
            assert len(moved.requests) == 1


def test_connections_are_kept_for_a_limited_number_of_endpoints(make_sender: MakeSender) -> None:
    sender = make_sender(keep=Keep(connections=2))
    receivers = [Receiver() for _ in range(4)]
    for _ in range(2):
        for receiver in receivers:
            assert sender.send(post(receiver)).succeeded
    assert [receiver.connections for receiver in receivers] == [2, 2, 2, 2]
    assert sender.send(post(receivers[3])).succeeded
    assert receivers[3].connections == 2
    for receiver in receivers:
        receiver.close()


def test_endpoints_of_one_host_on_other_ports_or_names_do_not_share_connections(make_sender: MakeSender) -> None:
    names = Names(a_example_com=["127.0.0.1"], b_example_com=["127.0.0.1"])
    sender = make_sender(resolve=names)
    with Receiver() as receiver:
        for host in ("a.example.com", "b.example.com", "a.example.com", "b.example.com"):
            assert sender.send(post(receiver, host=host)).succeeded
        assert receiver.connections == 2
        assert [request.headers["host"][0] for request in receiver.requests] == ["a", "b", "a", "b"]


@pytest.mark.parametrize("first", ["http", "https"])
def test_a_sender_goes_on_from_plain_to_tls_and_back(make_sender: MakeSender, authority: Authority, first: str) -> None:
    sender = make_sender(ca_file=authority.ca_file, keep=Keep(connections=1))
    with Receiver() as plain, Receiver(on_connect=over_tls(authority.server()), scheme="https") as secure:
        order = [plain, secure] if first == "http" else [secure, plain]
        for receiver in order * 2:
            assert sender.send(post(receiver)).succeeded


def tls_server(authority: Authority) -> Callable[[], Receiver]:
    context: ssl.SSLContext = authority.server()
    return lambda: Receiver(on_connect=over_tls(context), scheme="https")


def test_tls_connections_are_kept_and_replaced_as_well(make_sender: MakeSender, authority: Authority) -> None:
    sender = make_sender(ca_file=authority.ca_file)
    with tls_server(authority)() as receiver:
        for _ in range(3):
            assert sender.send(post(receiver)).succeeded
        assert receiver.connections == 1
        receiver.drop_connections()
        assert sender.send(post(receiver)).succeeded
        assert len(receiver.requests) == 4


def test_a_closed_sender_has_no_open_connections(sender: Sender, receiver: Receiver) -> None:
    sender.send(post(receiver))
    ended = receiver.connections_ended
    sender.close()
    receiver.wait_until(lambda: receiver.connections_ended == ended + 1)
