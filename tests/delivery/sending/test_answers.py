"""Parsing an answer line by line, within its limits."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.outcomes import HEAD_MAX_BYTES, HEAD_MAX_LINES, LINES_MAX, READ_MAX_BYTES, ErrorClass
from delivery.sending.answers import Answer, read_headers
from delivery.sending.failures import Failure
from delivery.sending.streams import ChunkStream


def fed(*lines: bytes) -> Answer:
    answer = Answer()
    for line in lines:
        answer.feed_line(line)
    return answer


def error_of(*lines: bytes) -> ErrorClass:
    with pytest.raises(Failure) as failure:
        fed(*lines).check_complete()
    return failure.value.error


def test_a_head_is_read() -> None:
    answer = fed(b"HTTP/1.1 404 Not Found\r\n", b"X-A: 1 \r\n", b"x-a:2\r\n", b"X-B:\r\n", b"\r\n")
    assert (answer.status_code, answer.headers) == (404, {"x-a": "1, 2", "x-b": ""})
    assert answer.check_complete() == 404


def test_an_interim_answer_is_skipped() -> None:
    lines = [b"HTTP/1.1 103 Early Hints\r\n", b"link: x\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", b"\r\n"]
    answer = fed(*lines)
    assert (answer.status_code, answer.headers, answer.is_head_complete) == (200, {"a": "b"}, True)
    assert fed(*lines[:3]).status_code is None


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200 \xe9\xff", b"HTTP/1.1 200 two words"]
)
def test_status_lines_of_http_1_are_accepted(line: bytes) -> None:
    assert fed(line + b"\r\n", b"\r\n").status_code == 200


@pytest.mark.parametrize(
    "line",
    [b"HTTP/2 200 OK", b"HTTP/1.2 200 OK", b"HTTP/1.1 99 X", b"HTTP/1.1 000 X", b"HTTP/1.1 2000 X", b"HTTP/1.1  200 OK",
     b"http/1.1 200 OK", b" HTTP/1.1 200 OK", b"", b"SSH-2.0", b"HTTP/1.1 101 Switching", b"HTTP/1.1 -20 X",
     b"HTTP/1.1 200 a\rb", b"HTTP/1.1 200 a\0b"],
)  # fmt: skip
def test_other_first_lines_are_invalid(line: bytes) -> None:
    assert error_of(line + b"\r\n") is ErrorClass.INVALID


@pytest.mark.parametrize(
    "line", [b"no colon", b"colonless", b"a b: 1", b"a : 1", b": 1", b"a: \0", b"a: b\rc: d", b"\xe9: 1",
             b"content-length: x", b"content-length: -1", b"content-length: 1, 2", b"content-length: +1",
             b"content-length: " + b"9" * 19, b"content-length: 1\x0b", b"transfer-encoding: gzip",
             b"transfer-encoding: gzip, chunked"],
)  # fmt: skip
def test_a_line_that_is_not_a_header_is_invalid(line: bytes) -> None:
    assert error_of(b"HTTP/1.1 200 OK\r\n", line + b"\r\n", b"\r\n") is ErrorClass.INVALID


@pytest.mark.parametrize("name", [b"content-length", b"location"])
def test_a_header_that_may_come_once_may_not_have_two_values(name: bytes) -> None:
    assert read_headers([name + b": 1", name + b": 1"])
    with pytest.raises(Failure):
        read_headers([name + b": 1", name + b": 2"])


def test_folded_lines_belong_to_the_header_before_them() -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\n", b"a: 1\r\n", b" 2\r\n", b"\t3\r\n", b"b:\r\n", b" 4\r\n", b"\r\n")
    assert answer.headers == {"a": "1 2 3", "b": "4"}
    assert error_of(b"HTTP/1.1 200 OK\r\n", b" first\r\n", b"\r\n") is ErrorClass.INVALID


def test_values_are_utf_8_or_else_latin_1() -> None:
    assert read_headers(["a: é".encode(), "b: é".encode("latin-1")]) == {"a": "é", "b": "é"}


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], ErrorClass.RESET),
        ([b""], ErrorClass.RESET),
        ([b"HT"], ErrorClass.RESET),
        ([b"HTTP/1.1 200 O"], ErrorClass.RESET),
        ([b"HTTP/1.1 200 OK\r\n"], ErrorClass.RESET),
        ([b"HTTP/1.1 200 OK\r\n", b"a: "], ErrorClass.RESET),
        ([b"HTTP/1.1 200 OK\r\n", b""], ErrorClass.RESET),
        ([b"HTTP/1.1 100 C\r\n", b"\r\n"], ErrorClass.RESET),
        ([b"\x15\x03"], ErrorClass.INVALID),
    ],
)
def test_an_incomplete_head_is_a_reset_unless_it_is_not_http(lines: list[bytes], error: ErrorClass) -> None:
    assert error_of(*lines) is error


def test_the_number_of_headers_is_bounded() -> None:
    lines = [b"HTTP/1.1 200 OK\r\n", *[b"a: b\r\n"] * HEAD_MAX_LINES, b"\r\n"]
    assert fed(*lines).check_complete() == 200
    assert error_of(*lines[:-1], b"a: b\r\n") is ErrorClass.INVALID


def test_the_size_of_the_head_is_bounded_over_interim_answers_and_trailers() -> None:
    interim = [b"HTTP/1.1 102 Wait\r\n", b"\r\n"] * (HEAD_MAX_BYTES // 21 + 1)
    assert error_of(*interim) is ErrorClass.INVALID
    answer = fed(b"HTTP/1.1 200 OK\r\n", b"\r\n")
    answer.feed_line(b"x" * (HEAD_MAX_BYTES - 100) + b"\r\n")
    with pytest.raises(Failure):
        answer.feed_line(b"x" * 100 + b"\r\n")


def test_the_number_of_lines_is_bounded_over_interim_answers_and_trailers() -> None:
    interim = [b"HTTP/1.1 103\n", b"\n"] * (LINES_MAX // 2)
    assert fed(*interim[:-2], b"HTTP/1.1 200 OK\n", b"\n").check_complete() == 200
    assert error_of(*interim, b"HTTP/1.1 200 OK\n") is ErrorClass.INVALID
    answer = fed(b"HTTP/1.1 200 OK\n", b"\n")
    for _ in range(LINES_MAX - 2):
        answer.feed_line(b"a:\n")
    with pytest.raises(Failure):
        answer.feed_line(b"a:\n")


def test_trailers_change_nothing() -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\n", b"\r\n", b"content-length: 5\r\n", b"HTTP/1.1 500 No\r\n")
    assert (answer.status_code, answer.headers) == (200, {})


def test_the_body_is_bounded_and_what_fits_is_kept() -> None:
    answer = Answer()
    answer.feed_body(b"x" * READ_MAX_BYTES)
    with pytest.raises(Failure) as failure:
        answer.feed_body(b"y" * 100_000)
    assert failure.value.error is ErrorClass.TOO_LARGE
    assert len(answer.body) == READ_MAX_BYTES + 1


def chunks(data: bytes) -> bytes:
    stream = ChunkStream(BytesIO(data), fed(b"HTTP/1.1 200 OK\r\n", b"\r\n"))
    body = b""
    while piece := stream.read1():
        body += piece
    return body


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.sampled_from([b"", b";ext=1", b" "]))
def test_chunks_are_joined(pieces: list[bytes], extension: bytes) -> None:
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    assert chunks(framed + b"0\r\ntrailer: 1\r\n\r\nafter") == b"".join(pieces)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", ErrorClass.RESET),
        (b"5", ErrorClass.RESET),
        (b"5\r\nab", ErrorClass.RESET),
        (b"2\r\nab", ErrorClass.RESET),
        (b"2\r\nab\r\n", ErrorClass.RESET),
        (b"0\r\n", ErrorClass.RESET),
        (b"0\r\ntrailer", ErrorClass.RESET),
        (b"x\r\n", ErrorClass.INVALID),
        (b"x", ErrorClass.INVALID),
        (b"-1\r\n", ErrorClass.INVALID),
        (b"+1\r\n", ErrorClass.INVALID),
        (b"\r\n", ErrorClass.INVALID),
        (b"12345678901234567\r\n", ErrorClass.INVALID),
        (b"1\r\nab\r\n", ErrorClass.INVALID),
        (b"1;" + b"x" * 10_000 + b"\r\na\r\n", ErrorClass.INVALID),
    ],
)
def test_wrong_chunks_are_noticed(data: bytes, error: ErrorClass) -> None:
    with pytest.raises(Failure) as failure:
        chunks(data)
    assert failure.value.error is error
