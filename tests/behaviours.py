"""The behaviours that the receiver's paths select: ways in which an endpoint answers well, badly or not at all.

`/status/410`, `/fail-first/3` and `/fail-every/10` have a number in the path; others have parameters in the query
(`/slow?s=0.5`). An unknown path answers 200.
"""

import gzip
import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from urllib.parse import parse_qsl

from tests.exchange import Behaviour, Exchange

DRIP_EVERY_S = 0.02
MEGABYTE = 1024 * 1024


def behaviour_of(path: str) -> Behaviour:
    name, _, query = path.partition("?")
    parameters = dict(parse_qsl(query))
    _, _, first = name.partition("/")
    word, _, number = first.partition("/")
    if number.isdigit() and word in _NUMBERED:
        return partial(_NUMBERED[word], number=int(number))
    if word in _PARAMETERS:
        return partial(_PARAMETERS[word], parameters=parameters)
    if word in RAW_ANSWERS:
        return partial(_raw, data=RAW_ANSWERS[word])
    return SIMPLE.get(word, ok)


def ok(exchange: Exchange) -> None:
    exchange.answer(200, body=b"ok")


def empty(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n")


def hang(exchange: Exchange) -> None:
    exchange.hang()


def reset(exchange: Exchange) -> None:
    exchange.reset()


def close(exchange: Exchange) -> None:
    exchange.close()


def half_close(exchange: Exchange) -> None:
    """Answers completely and shuts down its sending side, but keeps the connection open."""
    exchange.answer(200, body=b"ok")
    exchange.half_close()
    exchange.hang()


def half_close_unanswered(exchange: Exchange) -> None:
    exchange.half_close()
    exchange.hang()


def lying_keep_alive(exchange: Exchange) -> None:
    """Promises to keep the connection open, but closes it."""
    exchange.answer(200, [("connection", "keep-alive")], b"ok")
    exchange.close()


def no_keep_alive(exchange: Exchange) -> None:
    exchange.answer(200, [("connection", "close")], b"ok")
    exchange.close()


def until_close(exchange: Exchange) -> None:
    """A body that ends when the connection does."""
    exchange.send(b"HTTP/1.1 200 OK\r\n\r\nok")
    exchange.close()


def truncated(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npartial")
    exchange.close()


def truncated_by_reset(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npartial")
    exchange.wait(0.05)  # the client reads what was sent before the reset discards it
    exchange.reset()


def truncated_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    exchange.close()


def truncated_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
    exchange.close()


def slow_headers(exchange: Exchange) -> None:
    """A header line that never ends, one byte at a time."""
    exchange.send(b"HTTP/1.1 200 OK\r\nx-slow: ")
    exchange.drip(itertools.repeat(b"x"), DRIP_EVERY_S)
    exchange.close()


def drip(exchange: Exchange) -> None:
    """The head at once, the body one byte at a time: each byte arrives before any timeout per read."""
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    exchange.drip(itertools.repeat(b"x"), DRIP_EVERY_S)
    exchange.close()


def drip_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    exchange.drip(itertools.repeat(b"1\r\nx\r\n"), DRIP_EVERY_S)
    exchange.close()


def drip_interim(exchange: Exchange) -> None:
    exchange.drip(itertools.repeat(b"HTTP/1.1 102 Processing\r\n\r\n"), DRIP_EVERY_S)
    exchange.close()


def endless(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
    _pour(exchange, itertools.repeat(b"x" * 8192))


def endless_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    _pour(exchange, itertools.repeat(b"2000\r\n" + b"x" * 8192 + b"\r\n"))


def endless_interim(exchange: Exchange) -> None:
    _pour(exchange, itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100))


def endless_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    _pour(exchange, (b"x-%d: %s\r\n" % (n, b"y" * 500) for n in itertools.count()))


def endless_header_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nx: ")
    _pour(exchange, itertools.repeat(b"y" * 4096))


def endless_trailers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
    _pour(exchange, (b"x-%d: %s\r\n" % (n, b"y" * 500) for n in itertools.count()))


def endless_extension(exchange: Exchange) -> None:
    """An endless chunk extension: framing that no HTTP library exposes."""
    exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=")
    _pour(exchange, itertools.repeat(b"x" * 8192))


def endless_extensions(exchange: Exchange) -> None:
    """Endless chunks of one byte, each with a long extension, after a chunk of 8 KB without one."""
    exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2000\r\n" + b"x" * 8192 + b"\r\n")
    _pour(exchange, itertools.repeat(b"1;" + b"x" * 8000 + b"\r\no\r\n"))


def gzip_bomb(exchange: Exchange) -> None:
    """20 MB of zeros, compressed to 20 KB."""
    exchange.answer(200, [("content-encoding", "gzip"), ("content-type", "text/plain")], _BOMB)


def status(exchange: Exchange, number: int) -> None:
    if number == 204:
        empty(exchange)
    else:
        exchange.answer(number, body=b"status %d" % number)


def fail_first(exchange: Exchange, number: int) -> None:
    """500 for the first `number` tries of every webhook id."""
    exchange.answer(500 if exchange.attempt <= number else 200)


def fail_every(exchange: Exchange, number: int) -> None:
    """500 for the first try of every n-th webhook id."""
    exchange.answer(500 if exchange.attempt == 1 and exchange.ordinal % number == 0 else 200)


def slow(exchange: Exchange, parameters: Mapping[str, str]) -> None:
    """200 after `s` seconds."""
    exchange.wait(float(parameters.get("s", "1")))
    ok(exchange)


def redirect(exchange: Exchange, parameters: Mapping[str, str]) -> None:
    """Redirects to `to`, with `status` (302 by default)."""
    exchange.answer(int(parameters.get("status", "302")), [("location", parameters.get("to", "/ok"))])


def retry_after(exchange: Exchange, parameters: Mapping[str, str]) -> None:
    """`status` (429 by default), with `Retry-After: after`."""
    exchange.answer(int(parameters.get("status", "429")), [("retry-after", parameters.get("after", "60"))])


def big(exchange: Exchange, parameters: Mapping[str, str]) -> None:
    """A body of `bytes` bytes."""
    exchange.answer(200, body=b"x" * int(parameters.get("bytes", str(MEGABYTE))))


def headers(exchange: Exchange, parameters: Mapping[str, str]) -> None:
    """`count` headers of `bytes` bytes each."""
    value = "y" * int(parameters.get("bytes", "10"))
    exchange.answer(200, [(f"x-{n}", value) for n in range(int(parameters.get("count", "1")))])


def _pour(exchange: Exchange, pieces: Iterator[bytes]) -> None:
    """Sends up to 131,072 pieces as fast as the client reads; a client that reads them all has failed the test."""
    for piece in itertools.islice(pieces, 64 * MEGABYTE // 512):
        exchange.send(piece)
    exchange.close()


def _raw(exchange: Exchange, data: bytes) -> None:
    exchange.send(data)
    exchange.close()


_BOMB = gzip.compress(b"\0" * 20 * MEGABYTE)

RAW_ANSWERS: dict[str, bytes] = {
    "garbage": b"\x16\x03\x01\x02\x00\xde\xad\xbe\xef not HTTP at all\r\n\r\n",
    "binary": bytes(range(256)) * 8,
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "smtp": b"220 mail.example.com ESMTP\r\n",
    "html": b"<html><body>It works</body></html>\r\n",
    "http2": b"HTTP/2 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "http3": b"HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "http10": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "http10-until-close": b"HTTP/1.0 200 OK\r\n\r\nok",
    "icy": b"ICY 200 OK\r\n\r\nok",
    "no-status": b"HTTP/1.1 OK\r\ncontent-length: 2\r\n\r\nok",
    "short-status": b"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok",
    "long-status": b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
    "zero-status": b"HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\nok",
    "word-status": b"HTTP/1.1 two OK\r\ncontent-length: 2\r\n\r\nok",
    "no-reason": b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok",
    "empty-reason": b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok",
    "latin1-reason": b"HTTP/1.1 200 \xe9\xe8\r\ncontent-length: 2\r\n\r\nok",
    "nul-reason": b"HTTP/1.1 200 O\0K\r\ncontent-length: 2\r\n\r\nok",
    "cr-reason": b"HTTP/1.1 200 O\rK\r\ncontent-length: 2\r\n\r\nok",
    "cut-version": b"HTTP/",
    "status-999": b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nok",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 201 OK\r\ncontent-length: 2\r\n\r\nok",
    "interim-only": b"HTTP/1.1 102 Processing\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "word-length": b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok",
    "negative-length": b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
    "odd-space-length": b"HTTP/1.1 200 OK\r\ncontent-length: 2\x0b\r\n\r\nok",
    "huge-length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999999\r\n\r\nok",
    "two-lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "same-lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "length-and-chunks": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;ext=1\r\nk\r\n0\r\nx-after: 1\r\n\r\n",
    "folded-coding": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n chunked\r\ncontent-length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "bad-chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    "short-chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\nok\r\n0\r\n\r\n",
    "negative-chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
    "empty-chunk-line": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
    "unknown-coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: snappy\r\n\r\nok",
    "gzip-coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
    "bad-gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
    "nul-header": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok",
    "no-colon": b"HTTP/1.1 200 OK\r\nthis is no header\r\ncontent-length: 2\r\n\r\nok",
    "space-before-colon": b"HTTP/1.1 200 OK\r\nx-odd : 1\r\ncontent-length: 2\r\n\r\nok",
    "empty-name": b"HTTP/1.1 200 OK\r\n: 1\r\ncontent-length: 2\r\n\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok",
    "latin1-header": b"HTTP/1.1 200 OK\r\nx: \xe9\r\ncontent-length: 2\r\n\r\nok",
    "utf8-header": "HTTP/1.1 200 OK\r\nx: é\r\ncontent-length: 2\r\n\r\nok".encode(),
    "extra-body": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
    "body-on-204": b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
    "body-on-304": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok",
    "two-answers": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno",
}
"""Bytes that are sent unchanged, after which the connection is closed."""

SIMPLE: dict[str, Behaviour] = {
    behaviour.__name__.replace("_", "-"): behaviour
    for behaviour in (
        *(ok, empty, hang, reset, close, half_close, half_close_unanswered, lying_keep_alive, no_keep_alive),
        *(until_close, truncated, truncated_by_reset, truncated_head, truncated_chunks, slow_headers, drip),
        *(drip_chunks, drip_interim, endless, endless_chunks, endless_interim, endless_headers),
        *(endless_header_line, endless_trailers, endless_extension, endless_extensions, gzip_bomb),
    )
}
_NUMBERED = {"status": status, "fail-first": fail_first, "fail-every": fail_every}
_PARAMETERS = {"slow": slow, "redirect": redirect, "retry-after": retry_after, "big": big, "headers": headers}
