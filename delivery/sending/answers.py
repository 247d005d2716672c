"""Parses an answer as it comes in, line by line and piece by piece, within its limits: one parser for all senders.

The libraries tolerate different errors: http.client takes a header without a colon for the start of the body, libcurl
accepts spaces before a colon. So they only split the stream, and the head is parsed and checked here.
"""

import re
from functools import lru_cache

from delivery.outcomes import HEAD_MAX_BYTES, HEAD_MAX_LINES, LINES_MAX, READ_MAX_BYTES, ErrorClass
from delivery.sending.failures import Failure

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\0]*)?")
_NAME = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LINE_BREAK = b"\r\n"
_FOLD = frozenset({b" ", b"\t"})
_MAY_NOT_DIFFER = frozenset({"content-length", "location", "transfer-encoding"})
_LENGTH = re.compile(r"[0-9]{1,18}")
_SWITCHING_PROTOCOLS = 101


class Answer:
    """The answer to one request. It starts again after an interim (1xx) answer, whose bytes count as well."""

    __slots__ = ("_fed", "_head_bytes", "_interim", "_lines", "body", "headers", "is_head_complete", "status_code")

    def __init__(self) -> None:
        self.status_code: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_head_complete = False
        self._head_bytes = 0
        self._fed = 0
        self._interim = False
        self._lines: list[bytes] = []

    @property
    def has_begun(self) -> bool:
        """Whether any byte has come."""
        return self._head_bytes > 0

    @property
    def ends_with_connection(self) -> bool:
        """Whether the body ends where the connection ends."""
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def feed_line(self, line: bytes) -> None:
        """Parses the next line of the head with its line break, or a trailer; empty at the end of the stream.

        Raises Failure if the head is incomplete, too long, or not HTTP/1.
        """
        self._head_bytes += len(line)
        if self._head_bytes > HEAD_MAX_BYTES:
            raise Failure(ErrorClass.INVALID, f"the headers are longer than {HEAD_MAX_BYTES} bytes")
        self._fed += 1
        if self._fed > LINES_MAX:
            raise Failure(ErrorClass.INVALID, f"there are more than {LINES_MAX} lines of headers and trailers")
        if self.is_head_complete:
            return
        if not line.endswith(b"\n"):
            raise Failure(*_broken_off(self._head_bytes > 0, line, self.status_code))
        text = line.rstrip(_LINE_BREAK)
        if self.status_code is None:
            self._feed_status_line(text)
        elif text[:1] in _FOLD and self._lines:  # a continuation line: obsolete but harmless
            self._lines[-1] += b" " + text.strip(b" \t")
        elif text:
            self._lines.append(text)
            if len(self._lines) > HEAD_MAX_LINES:
                raise Failure(ErrorClass.INVALID, f"there are more than {HEAD_MAX_LINES} headers")
        else:
            self._end_head()

    def feed_body(self, data: bytes) -> None:
        """Adds a piece of the body. Raises Failure if the body is too long, and keeps the part that fits."""
        self.body += data[: READ_MAX_BYTES - len(self.body) + 1]
        if len(self.body) > READ_MAX_BYTES:
            raise Failure(ErrorClass.TOO_LARGE, f"the answer is longer than {READ_MAX_BYTES} bytes")

    def check_complete(self) -> int:
        """Returns the final status. Raises Failure if the stream ended before the end of the head."""
        if self.status_code is None or not self.is_head_complete:
            raise Failure(*_broken_off(self.has_begun, b"", self.status_code))
        return self.status_code

    def _feed_status_line(self, text: bytes) -> None:
        match = _STATUS_LINE.fullmatch(text)
        if match is None:
            raise Failure(ErrorClass.INVALID, f"the answer does not start as HTTP/1 does: {text[:60]!r}")
        self.status_code = int(match[1])
        if self.status_code == _SWITCHING_PROTOCOLS:
            raise Failure(ErrorClass.INVALID, "101: we did not ask for another protocol")
        self._interim = self.status_code < 200

    def _end_head(self) -> None:
        headers = read_headers(self._lines)
        self._lines = []
        if self._interim:
            self.status_code = None
        else:
            self.headers = headers
            self.is_head_complete = True


def read_headers(lines: list[bytes]) -> dict[str, str]:
    """Parses the header lines of a head: names in lower case, the values of repeated headers joined with a comma.

    Raises Failure if a line is not a header, or if the headers that frame the body are ambiguous.
    """
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon:
            raise _not_a_header(line)
        name = _name(raw_name)
        value = _value(raw_value, line)
        if name not in headers:
            headers[name] = value
        elif name not in _MAY_NOT_DIFFER:
            headers[name] += f", {value}"
        elif headers[name] != value:
            raise Failure(ErrorClass.INVALID, f"there are several different headers {name}")
    _check_framing(headers)
    return headers


def _check_framing(headers: dict[str, str]) -> None:
    length = headers.get("content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        raise Failure(ErrorClass.INVALID, f"this is not a content-length: {length[:60]}")
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        raise Failure(ErrorClass.INVALID, f"we did not ask for a transfer-encoding {coding[:60]}")


@lru_cache(maxsize=1000)
def _name(raw: bytes) -> str:
    """The name in lower case. Cached, because few names come often. Raises Failure, which is not cached."""
    if not _NAME.fullmatch(raw):
        raise _not_a_header(raw)
    return raw.decode("ascii").lower()


def _value(raw: bytes, line: bytes) -> str:
    if b"\0" in raw or b"\r" in raw:
        raise _not_a_header(line)
    raw = raw.strip(b" \t")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _not_a_header(line: bytes) -> Failure:
    return Failure(ErrorClass.INVALID, f"this is not a header: {line[:60]!r}")


def _broken_off(has_begun: bool, line: bytes, status_code: int | None) -> tuple[ErrorClass, str]:
    if not has_begun:
        return ErrorClass.RESET, "the connection was closed without an answer"
    if status_code is None and line and line[:7] != b"HTTP/1."[: len(line)]:
        return ErrorClass.INVALID, f"the answer does not start as HTTP/1 does: {line[:60]!r}"
    return ErrorClass.RESET, "the connection was closed in the middle of the answer's head"
