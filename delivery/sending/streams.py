"""Streams that http.client reads an answer from: one passes the head to our parser, one joins the chunks of the body.

Chunks are parsed as strictly as by libcurl. http.client and urllib3 accept `-1` and `0x10` as lengths, and do not
notice if the stream ends after the last chunk's length.
"""

import re
from io import BufferedIOBase

from delivery.outcomes import ErrorClass
from delivery.sending.answers import Answer
from delivery.sending.failures import Failure, caused

_LINE_MAX = 8 * 1024
_PIECE_BYTES = 16 * 1024
_CHUNK_LENGTH = re.compile(rb"([0-9A-Fa-f]{1,16}(?![0-9A-Fa-f]))|\Z")
_LINE_BREAK = re.compile(rb"(\r?)(?:\n|\Z)")
_ANY_LINE = re.compile(rb"([^\r\n]*)")


class HeadStream:
    """The stream while the head is read, with the methods that http.client calls until then."""

    def __init__(self, stream: BufferedIOBase, answer: Answer) -> None:
        self._stream = stream
        self._answer = answer

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        self._answer.feed_line(line)
        return line

    def close(self) -> None:
        self._stream.close()


class ChunkStream:
    """The body without its framing. Trailers are passed to the answer."""

    def __init__(self, stream: BufferedIOBase, answer: Answer) -> None:
        self._stream = stream
        self._answer = answer
        self._left = 0
        """The bytes that are left of the current chunk."""
        self._is_first = True
        self._has_ended = False

    def read1(self, size: int = _PIECE_BYTES) -> bytes:
        """The next piece, empty at the end of the body. Raises Failure if the framing is wrong or incomplete."""
        if not self._left and not self._has_ended:
            self._start_chunk()
        if self._has_ended:
            return b""
        data = self._stream.read1(min(size, self._left))
        if not data:
            raise caused(ErrorClass.RESET, "in the middle of a chunk")
        self._left -= len(data)
        return data

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()

    def _start_chunk(self) -> None:
        if not self._is_first:
            self._line(_LINE_BREAK, "a chunk is longer than it says")
        self._is_first = False
        self._left = int(self._line(_CHUNK_LENGTH, "this is not the length of a chunk"), 16)
        if self._left == 0:
            self._has_ended = True
            while trailer := self._line(_ANY_LINE, ""):
                self._answer.feed_line(trailer)

    def _line(self, pattern: re.Pattern[bytes], complaint: str) -> bytes:
        """The pattern's group in the next line. An incomplete line that does not match is INVALID, else RESET."""
        line: bytes = self._stream.readline(_LINE_MAX)
        match = pattern.match(line)
        if match is None:
            raise Failure(ErrorClass.INVALID, f"{complaint}: {line[:60]!r}")
        if line.endswith(b"\n"):
            return match[1]
        if len(line) == _LINE_MAX:
            raise Failure(ErrorClass.INVALID, f"a line between chunks is longer than {_LINE_MAX} bytes")
        raise caused(ErrorClass.RESET, "between two chunks")
