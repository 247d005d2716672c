"""The outcome of each behaviour of an endpoint, with both senders."""

import http.client
import resource
import socket
import threading
import time
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote

import pytest

from delivery.deliver import says_down
from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import Request, Sender
from delivery.sending.resolving import LookupFailed, NoRoomToLookUp
from partners.addresses import Address, AddressPolicy
from tests.delivery.sending.conftest import LOOPBACK, MakeSender, Names
from tests.exchange import Exchange, reset
from tests.receiver import Receiver

HEADERS = {
    "content-type": "application/json",
    "webhook-id": "evt_1",
    "webhook-timestamp": "1767225600",
    "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    "user-agent": "Recart-Hooks/0.1.0",
}
BODY = b'{"id":"evt_1","data":{"b":1.10,"a":"\xc3\xa9"}}'


def post(url: str, timeout_s: float = 5.0, connect_timeout_s: float = 5.0, body: bytes = BODY) -> Request:
    return Request(url, HEADERS, body, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)


def summary(outcome: Outcome) -> tuple[int | None, ErrorClass | None]:
    return outcome.status_code, outcome.error


def test_a_post_arrives_as_it_was_given(sender: Sender, receiver: Receiver) -> None:
    outcome = sender.send(post(receiver.url("/ok?shop=1&x=%20y")))
    [request] = receiver.requests
    assert outcome.succeeded
    assert (outcome.status_code, outcome.response_excerpt, outcome.detail) == (200, "ok", "")
    assert (request.method, request.path, request.body) == ("POST", "/ok?shop=1&x=%20y", BODY)
    assert list(request.header_lines) == [
        ("Host", f"127.0.0.1:{receiver.port}"),
        ("Accept-Encoding", "identity"),
        ("Content-Length", str(len(BODY))),
        *HEADERS.items(),
        ("Accept", "*/*"),
    ]


@pytest.mark.parametrize("size", [0, 1, 1024, 256 * 1024, 2 * 1024 * 1024])
def test_bodies_of_all_sizes_arrive_at_once(sender: Sender, receiver: Receiver, size: int) -> None:
    body = bytes(n % 256 for n in range(1024)) * (size // 1024) if size > 1 else b"x" * size
    assert sender.send(post(receiver.url("/ok"), body=body)).succeeded
    [request] = receiver.requests
    assert request.body == body
    assert "expect" not in request.headers


def test_headers_with_empty_values_and_our_own_accept_arrive(sender: Sender, receiver: Receiver) -> None:
    sender.send(Request(receiver.url("/ok"), {"x-empty": "", "Accept": "application/json", "x-pad": " a\tb "}, b""))
    headers = receiver.requests[0].headers
    assert (headers["x-empty"], headers["accept"], headers["x-pad"]) == ("", "application/json", "a\tb")
    assert set(headers) == {"host", "accept-encoding", "content-length", "x-empty", "accept", "x-pad"}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 226, 299])
def test_a_2xx_is_a_success(sender: Sender, receiver: Receiver, status: int) -> None:
    assert summary(sender.send(post(receiver.url(f"/status/{status}")))) == (status, None)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 413, 429, 500, 502, 503, 504, 999])
def test_any_other_status_is_kept(sender: Sender, receiver: Receiver, status: int) -> None:
    outcome = sender.send(post(receiver.url(f"/status/{status}")))
    assert summary(outcome) == (status, ErrorClass.STATUS)
    assert outcome.response_excerpt == f"status {status}"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_redirects_are_not_followed(sender: Sender, receiver: Receiver, status: int) -> None:
    outcome = sender.send(post(receiver.url(f"/redirect?status={status}&to={receiver.url('/ok')}")))
    assert summary(outcome) == (status, ErrorClass.REDIRECT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("value", ["120", "Sun, 06 Nov 1994 08:49:37 GMT", "nonsense"])
def test_retry_after_is_handed_on(sender: Sender, receiver: Receiver, value: str) -> None:
    outcome = sender.send(post(receiver.url(f"/retry-after?after={quote(value)}")))
    assert (outcome.status_code, outcome.retry_after) == (429, value)


def test_answer_headers_are_kept(sender: Sender, receiver: Receiver) -> None:
    receiver.answer("/ok", lambda exchange: exchange.answer(200, [("X-Request-Id", "abc"), ("Set-Cookie", "a=b")]))
    assert sender.send(post(receiver.url("/ok"))).response_headers == {"x-request-id": "abc", "content-length": "0"}


def test_cookies_are_not_sent_back(sender: Sender, receiver: Receiver) -> None:
    receiver.answer("/ok", lambda exchange: exchange.answer(200, [("Set-Cookie", "a=b; Path=/")]))
    for _ in range(2):
        sender.send(post(receiver.url("/ok")))
    assert [("cookie" in request.headers) for request in receiver.requests] == [False, False]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/close", (None, ErrorClass.RESET)),
        ("/reset", (None, ErrorClass.RESET)),
        ("/half-close-unanswered", (None, ErrorClass.RESET)),
        ("/truncated", (200, ErrorClass.RESET)),
        ("/truncated-by-reset", (200, ErrorClass.RESET)),
        ("/truncated-head", (200, ErrorClass.RESET)),
        ("/truncated-chunks", (200, ErrorClass.RESET)),
        ("/garbage", (None, ErrorClass.INVALID)),
        ("/binary", (None, ErrorClass.INVALID)),
        ("/ssh", (None, ErrorClass.INVALID)),
        ("/switching", (101, ErrorClass.INVALID)),
        ("/bad-chunk", (200, ErrorClass.INVALID)),
        ("/word-length", (200, ErrorClass.INVALID)),
        ("/endless-interim", (None, ErrorClass.INVALID)),
        ("/endless-headers", (200, ErrorClass.INVALID)),
        ("/endless-header-line", (200, ErrorClass.INVALID)),
        ("/endless-trailers", (200, ErrorClass.INVALID)),
        ("/endless-extension", (200, ErrorClass.INVALID)),
        ("/endless-extensions", (200, ErrorClass.INVALID)),
        ("/headers?count=300", (200, ErrorClass.INVALID)),
        ("/headers?count=80&bytes=1000", (200, ErrorClass.INVALID)),
        ("/endless", (200, ErrorClass.TOO_LARGE)),
        ("/endless-chunks", (200, ErrorClass.TOO_LARGE)),
        ("/big?bytes=65537", (200, ErrorClass.TOO_LARGE)),
        ("/big?bytes=65536", (200, None)),
        ("/headers?count=80", (200, None)),
        ("/half-close", (200, None)),
        ("/until-close", (200, None)),
        ("/no-keep-alive", (200, None)),
        ("/continue", (200, None)),
        ("/early-hints", (201, None)),
        ("/empty", (204, None)),
        ("/bad-gzip", (200, None)),
    ],
)
def test_each_fault_has_its_error_class(
    sender: Sender, receiver: Receiver, path: str, expected: tuple[int | None, ErrorClass | None]
) -> None:
    outcome = sender.send(post(receiver.url(path)))
    assert summary(outcome) == expected
    assert bool(outcome.detail) is not outcome.succeeded


@pytest.mark.parametrize(
    ("path", "status_code"), [("/hang", None), ("/slow?s=30", None), ("/drip-interim", None), ("/slow-headers", 200)]
)
def test_an_answer_whose_head_does_not_come_in_time_is_a_timeout(
    sender: Sender, receiver: Receiver, path: str, status_code: int | None
) -> None:
    _expect_timeout(sender, receiver, path, status_code)


@pytest.mark.parametrize("path", ["/drip", "/drip-chunks"])
def test_an_answer_that_drips_is_a_timeout_however_often_a_byte_comes(
    sender: Sender, receiver: Receiver, path: str
) -> None:
    _expect_timeout(sender, receiver, path, 200)


def _expect_timeout(sender: Sender, receiver: Receiver, path: str, status_code: int | None) -> None:
    outcome = sender.send(post(receiver.url(path), timeout_s=0.4))
    assert summary(outcome) == (status_code, ErrorClass.TIMEOUT)
    assert 350 < outcome.latency_ms < 1500


def test_the_total_deadline_is_30_s_at_most(sender: Sender, receiver: Receiver) -> None:
    receiver.answer("/ok", lambda exchange: exchange.answer())
    assert sender.send(post(receiver.url("/ok"), timeout_s=1e9, connect_timeout_s=1e9)).succeeded


def test_a_port_without_a_listener_is_refused(sender: Sender, receiver: Receiver) -> None:
    receiver.close()
    outcome = sender.send(post(receiver.url("/ok")))
    assert summary(outcome) == (None, ErrorClass.REFUSED)
    assert outcome.latency_ms < 1000


def test_without_a_file_for_a_socket_the_failure_is_ours(sender: Sender, receiver: Receiver) -> None:
    with Receiver() as known:
        sender.send(post(known.url("/ok")))  # opens what the sender keeps open
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        outcome = sender.send(post(receiver.url("/ok")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (outcome.error, outcome.detail) == (ErrorClass.INTERNAL, "the HTTP client failed (Too many open files)")
    assert sender.send(post(receiver.url("/ok"))).succeeded


def test_a_host_that_takes_no_connection_is_a_connect_timeout(sender: Sender) -> None:
    with _full_listener() as port:
        outcome = sender.send(post(f"http://127.0.0.1:{port}/", connect_timeout_s=0.3))
    assert summary(outcome) == (None, ErrorClass.CONNECT_TIMEOUT)
    assert 250 < outcome.latency_ms < 1500


def test_a_name_that_does_not_resolve_is_a_dns_failure(make_sender: MakeSender) -> None:
    outcome = make_sender(resolve=Names()).send(post("http://nobody.example.com/"))
    assert summary(outcome) == (None, ErrorClass.DNS)
    assert outcome.detail == "nobody.example.com does not resolve"


def test_a_name_that_takes_too_long_is_a_dns_failure_within_the_connect_timeout(make_sender: MakeSender) -> None:
    asked: list[float] = []

    def slow(host: str, timeout_s: float) -> tuple[Address, ...]:
        asked.append(timeout_s)
        raise LookupFailed(f"looking up {host} took too long")

    outcome = make_sender(resolve=slow).send(post("http://slow.example.com/", connect_timeout_s=0.5))
    assert summary(outcome) == (None, ErrorClass.DNS)
    assert 0.3 < asked[0] <= 0.5


def test_too_many_look_ups_are_our_own_fault(make_sender: MakeSender) -> None:
    def full(host: str, timeout_s: float) -> tuple[Address, ...]:
        raise NoRoomToLookUp("2048 names are being looked up already")

    outcome = make_sender(resolve=full).send(post("http://hooks.example.com/"))
    assert summary(outcome) == (None, ErrorClass.INTERNAL)
    assert not says_down(outcome), "and so it opens no breaker"


def test_a_name_is_connected_to_by_the_addresses_it_resolves_to(make_sender: MakeSender, receiver: Receiver) -> None:
    names = Names(hooks_example_com=["127.0.0.1"])
    outcome = make_sender(resolve=names).send(post(receiver.url("/ok", host="hooks.example.com")))
    assert outcome.succeeded
    assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"


def test_the_next_address_is_tried_when_the_first_one_refuses(make_sender: MakeSender, receiver: Receiver) -> None:
    names = Names(hooks_example_com=["::1 127.0.0.1"])
    assert make_sender(resolve=names).send(post(receiver.url("/ok", host="hooks.example.com"))).succeeded


def test_a_gzip_bomb_is_not_unpacked(sender: Sender, receiver: Receiver) -> None:
    outcome = sender.send(post(receiver.url("/gzip-bomb")))
    assert outcome.succeeded
    assert outcome.response_headers["content-encoding"] == "gzip"
    assert outcome.response_excerpt.startswith("\x1f\ufffd")
    assert len(outcome.response_excerpt) <= 4096


def test_an_answer_before_the_request_was_read_counts(sender: Sender) -> None:
    """Answers 413 without reading the body, as proxies do if it is too large."""

    def refuse(connection: socket.socket) -> socket.socket:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
        return connection

    with Receiver(on_connect=refuse) as receiver:
        assert summary(sender.send(post(receiver.url("/"), body=b"x" * 5_000_000))) == (413, ErrorClass.STATUS)


def test_a_connection_that_is_reset_while_the_body_is_sent_is_a_reset(sender: Sender) -> None:
    def drop(connection: socket.socket) -> socket.socket:
        connection.recv(100)
        reset(connection)
        raise ConnectionError

    with Receiver(on_connect=drop) as receiver:
        assert summary(sender.send(post(receiver.url("/"), body=b"x" * 20_000_000))) == (None, ErrorClass.RESET)


def test_a_receiver_that_reads_nothing_does_not_hold_a_large_body_beyond_the_deadline(sender: Sender) -> None:
    released = threading.Event()

    def read_nothing(connection: socket.socket) -> socket.socket:
        released.wait(10)
        return connection

    with Receiver(on_connect=read_nothing) as receiver:
        outcome = sender.send(post(receiver.url("/"), timeout_s=0.4, body=b"x" * 20_000_000))
        released.set()
    assert summary(outcome) == (None, ErrorClass.TIMEOUT)
    assert outcome.latency_ms < 2000


def test_an_ipv6_endpoint_is_reached(sender: Sender) -> None:
    try:
        receiver = Receiver(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with receiver:
        assert sender.send(post(receiver.url("/ok"))).succeeded
        assert receiver.requests[0].headers["host"] == f"[::1]:{receiver.port}"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
def test_proxies_from_the_environment_are_ignored(
    make_sender: MakeSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with Receiver() as proxy:
        monkeypatch.setenv(variable, proxy.url(""))
        assert make_sender().send(post(receiver.url("/ok"))).succeeded
        assert proxy.connections == 0


def test_passwords_from_netrc_are_ignored(
    make_sender: MakeSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert make_sender().send(post(receiver.url("/ok"))).succeeded
    assert "authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize(
    "headers",
    [
        {"x-a": "b\r\nx-injected: 1"},
        {"x-a": "b\nx-injected: 1"},
        {"x-a": "b\rx"},
        {"x-a": "b\0"},
        {"x-a": "é"},
        {"x-a\r\nx-injected": "1"},
        {"x a": "1"},
        {"x-a:": "1"},
        {"": "1"},
        {"Host": "internal"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"connection": "upgrade"},
        {"x-a": "1", "X-A": "2"},
        {f"x-{n}": "y" * 4000 for n in range(10)},
    ],
    ids=repr,
)
def test_invalid_headers_and_those_that_only_the_sender_may_set_are_not_sent(
    sender: Sender, receiver: Receiver, headers: dict[str, str]
) -> None:
    outcome = sender.send(Request(receiver.url("/ok"), headers, b"{}"))
    assert summary(outcome) == (None, ErrorClass.UNSENDABLE)
    assert receiver.connections == 0


def test_many_threads_share_one_sender(sender: Sender, receiver: Receiver) -> None:
    outcomes: list[bool] = []

    def send_some(thread: int) -> None:
        for n in range(20):
            body = f"{thread}-{n}".encode()
            outcome = sender.send(Request(receiver.url(f"/{thread}"), {"webhook-id": f"{thread}-{n}"}, body))
            outcomes.append(outcome.succeeded)

    threads = [threading.Thread(target=send_some, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 320
    assert all(request.path[1:] == request.body.decode().partition("-")[0] for request in receiver.requests)
    assert all(request.webhook_id == request.body.decode() for request in receiver.requests)
    assert len(receiver.requests) == 320
    assert receiver.connections <= 32


def test_one_threads_hanging_endpoint_does_not_hold_the_others(sender: Sender, receiver: Receiver) -> None:
    hanging = threading.Thread(target=sender.send, args=(post(receiver.url("/hang"), timeout_s=3),))
    hanging.start()
    receiver.wait_for(1)
    started = time.monotonic()
    for _ in range(20):
        assert sender.send(post(receiver.url("/ok"))).succeeded
    assert time.monotonic() - started < 2
    receiver.drop_connections()
    hanging.join()


def test_a_bug_in_our_own_code_is_an_internal_failure(
    make_sender: MakeSender, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(host: str, timeout_s: float) -> tuple[Address, ...]:
        raise ZeroDivisionError

    outcome = make_sender(resolve=broken).send(post("http://hooks.example.com/"))
    assert summary(outcome) == (None, ErrorClass.INTERNAL)
    assert "ZeroDivisionError" in caplog.text


def test_http_client_still_has_what_the_reference_sender_overrides() -> None:
    assert hasattr(http.client.HTTPResponse, "_read_status")


def test_an_https_only_policy_sends_nothing_over_http(make_sender: MakeSender, receiver: Receiver) -> None:
    policy = AddressPolicy(allow=[ip_network("127.0.0.0/8")], schemes=["https"])
    assert summary(make_sender(policy).send(post(receiver.url("/ok")))) == (None, ErrorClass.BLOCKED)
    assert receiver.connections == 0


class _full_listener:  # noqa: N801 - reads as the statement it is
    """A port whose queue of connections is full, so that the next connection waits."""

    def __enter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        port: int = self._listener.getsockname()[1]
        self._waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            self._waiting.append(client)
        return port

    def __exit__(self, *_: object) -> None:
        for client in (*self._waiting, self._listener):
            client.close()


def test_the_policy_of_these_tests_is_what_makes_loopback_reachable(
    make_sender: MakeSender, receiver: Receiver
) -> None:
    assert make_sender(LOOPBACK).send(post(receiver.url("/ok"))).succeeded
    assert summary(make_sender(AddressPolicy()).send(post(receiver.url("/ok")))) == (None, ErrorClass.BLOCKED)


def test_a_latin1_answer_is_read(sender: Sender, receiver: Receiver) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.answer(400, [("content-type", "text/plain; charset=iso-8859-1")], "größe".encode("latin-1"))

    receiver.answer("/ok", answer)
    assert sender.send(post(receiver.url("/ok"))).response_excerpt == "größe"
