"""Both senders have the same outcome for every behaviour of the receiver, and for random bytes."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from delivery.outcomes import ErrorClass, Outcome
from delivery.sending import Request, Sender
from delivery.sending.curl_sender import CurlSender
from delivery.sending.requests_sender import RequestsSender
from tests.behaviours import RAW_ANSWERS, SIMPLE
from tests.delivery.sending.conftest import LOOPBACK
from tests.exchange import Exchange, Received
from tests.receiver import Receiver

STATUSES = [
    200,
    201,
    202,
    203,
    204,
    205,
    206,
    300,
    301,
    304,
    307,
    400,
    404,
    410,
    418,
    429,
    451,
    500,
    503,
    599,
    600,
    999,
]
PATHS = [
    *(f"/{name}" for name in (*SIMPLE, *RAW_ANSWERS)),
    *(f"/status/{status}" for status in STATUSES),
    *(f"/big?bytes={size}" for size in (0, 1, 4096, 65535, 65536, 65537, 1_000_000)),
    *(f"/headers?count={count}" for count in (0, 1, 88, 89, 90, 91, 99, 100, 101, 200)),
    *(f"/headers?count=8&bytes={size}" for size in (1000, 8100, 8200, 20_000)),
    *(f"/headers?count=1&bytes={size}" for size in (65_000, 65_500, 65_600, 200_000)),
    *("/redirect", "/redirect?status=308&to=http://127.0.0.1:1/", "/retry-after", "/retry-after?status=503"),
    f"/retry-after?after={quote('Sun, 06 Nov 1994 08:49:37 GMT')}",
]
Both = tuple[Sender, Sender]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    senders = (RequestsSender(LOOPBACK), CurlSender(LOOPBACK))
    yield senders
    for sender in senders:
        sender.close()


@pytest.fixture(scope="module")
def shared_receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def comparable(outcome: Outcome) -> dict[str, object]:
    """The outcome without the libraries' texts, the latency, and the part of an answer that came before a timeout."""
    excerpt = outcome.response_excerpt if outcome.error is not ErrorClass.TIMEOUT else ""
    return {
        "status": outcome.status_code,
        "error": outcome.error,
        "headers": outcome.response_headers,
        "excerpt": excerpt,
        "retry_after": outcome.retry_after,
    }


def differing(both: Both, request: Request) -> tuple[dict[str, object], dict[str, object], str]:
    first, second = (sender.send(request) for sender in both)
    return comparable(first), comparable(second), f"{first.detail!r} and {second.detail!r}"


@pytest.mark.parametrize("path", PATHS)
def test_both_senders_have_the_same_outcome_for_every_behaviour(
    both: Both, shared_receiver: Receiver, path: str
) -> None:
    request = Request(shared_receiver.url(path), {"webhook-id": "evt_1"}, b"{}", timeout_s=0.3)
    first, second, details = differing(both, request)
    assert first == second, details
    assert first["error"] is not ErrorClass.INTERNAL


def test_both_send_the_same_bytes(both: Both, shared_receiver: Receiver) -> None:
    def as_sent(request: Received) -> tuple[object, ...]:
        return request.method, request.path, request.header_lines, request.body

    urls = [
        "/", "", "/a/../b/./c", "/%7euser/%e2%82%ac?q=%2F", "/größe?ä=ö&x", "/a//b", "/a;b=1,2/c?d=e?f/", "/100%",
        "?only=query", "/{braces}|pipe^[x]", "/'quotes'()*!$&+", "/?a=b&&c==d",
    ]  # fmt: skip
    headers: list[dict[str, str]] = [
        {},
        {"Content-Type": "application/json"},
        {"X-Empty": "", "User-Agent": "a/1 (b; c)"},
    ]
    for url in urls:
        for header in headers:
            shared_receiver.clear()
            for sender in both:
                sender.send(Request(shared_receiver.url(url), header, b"{}"))
            first, second = map(as_sent, shared_receiver.requests)
            assert first == second


LINE = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 100 C", b"HTTP/1.1 404"])
HEADER = st.sampled_from(
    [
        *(
            b"content-length: 2",
            b"content-length: 0",
            b"content-length: 2, 2",
            b"content-length:",
            b"connection: close",
        ),
        *(b"transfer-encoding: chunked", b"transfer-encoding: Chunked", b"transfer-encoding: identity", b"x:", b" z"),
        *(b"content-encoding: gzip", b"location: /x", b"location: /y", b"\xff: 1", b"a b: 1", b"upgrade: x", b"no"),
        *(b"trailer: x", b"\tfold", b'alt-svc: h3=":1"', b"strict-transport-security: max-age=1", b"set-cookie: a=b"),
        *(
            b"keep-alive: 1",
            b"proxy-connection: close",
            b"connection: keep-alive",
            b"retry-after: 1",
            b"retry-after: x",
        ),
        *(b"content-range: x", b"www-authenticate: Negotiate", b"content-encoding: x, y", b"last-modified: x", b"x: y"),
    ]
)
BODY = st.sampled_from(
    [b"", b"ok", b"2\r\nok\r\n0\r\n\r\n", b"0\r\n\r\n", b"2;x=1\r\nok\r\n0\r\nt: 1\r\n\r\n", b"o", b"okk"]
)
END = st.sampled_from([b"\r\n", b"\n"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(LINE, st.lists(HEADER, max_size=4), BODY, END)
@example(b"HTTP/1.1 200 OK", [b"transfer-encoding: chunked", b"content-length: 2"], b"2\r\nok\r\n0\r\n\r\n", b"\r\n")
def test_both_senders_have_the_same_outcome_for_random_answers(
    both: Both, shared_receiver: Receiver, line: bytes, headers: list[bytes], body: bytes, end: bytes
) -> None:
    _compare_raw(both, shared_receiver, end.join([line, *headers, b"", body]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_no_bytes_at_all_are_a_success_or_a_bug(both: Both, shared_receiver: Receiver, data: bytes) -> None:
    _answer_raw(shared_receiver, data)
    for sender in both:
        outcome = sender.send(Request(shared_receiver.url("/raw"), {}, b"{}", timeout_s=2))
        assert outcome.error in {ErrorClass.INVALID, ErrorClass.RESET}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=100), st.sampled_from([b"", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"]))
def test_whatever_follows_a_good_start_is_no_bug(
    both: Both, shared_receiver: Receiver, data: bytes, header: bytes
) -> None:
    _answer_raw(shared_receiver, b"HTTP/1.1 200 OK\r\n" + header + b"\r\n" + data)
    errors = {sender.send(Request(shared_receiver.url("/raw"), {}, b"{}", timeout_s=2)).error for sender in both}
    assert ErrorClass.INTERNAL not in errors
    assert (None in errors) == (errors == {None})


def _compare_raw(both: Both, receiver: Receiver, data: bytes) -> None:
    _answer_raw(receiver, data)
    first, second, details = differing(both, Request(receiver.url("/raw"), {}, b"{}", timeout_s=2))
    assert first == second, f"{data!r}: {details}"


def _answer_raw(receiver: Receiver, data: bytes) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()

    receiver.answer("/raw", answer)
