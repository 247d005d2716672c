"""The outcome of one attempt, as a value: the senders create it, delivery.retries reads it, the recorder stores it.

Pure. An endpoint's fault is an Outcome, never an exception. The kept part of an answer is limited here, for all
senders, and can always be stored: no NUL, no invalid UTF-8, no more than the columns hold.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases
from enum import StrEnum

from partners.endpoints import origin

READ_MAX_BYTES = 64 * 1024
"""The limit of an answer's body. A longer one is TOO_LARGE, whatever its status."""
HEAD_MAX_BYTES = 64 * 1024
"""The limit of an answer's status line and headers, with those of interim (1xx) answers. A longer head is INVALID."""
HEAD_MAX_LINES = 90
LINES_MAX = 1000
"""The limit of an answer's lines, with those of interim answers and trailers."""
EXCERPT_BYTES = 4096
DETAIL_CHARACTERS = 500

_KEPT_HEADERS = 50
_KEPT_HEADER_CHARACTERS = 500
_KEPT_HEADERS_CHARACTERS = 8192
_NOT_KEPT = frozenset({"set-cookie", "set-cookie2"})
"""The partner's credentials, which nobody needs in a delivery log."""

_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._-]{1,40})""", re.IGNORECASE)
_TEXT_CODECS = frozenset({"utf_8", "latin_1", "cp1252", "ascii", "utf_16", "utf_16_le", "utf_16_be"})


class ErrorClass(StrEnum):
    """Why an attempt failed, as logs, metrics and the API name it. Adding one is safe, renaming one is not."""

    DNS = "dns"
    """The name does not resolve, or not in time."""
    REFUSED = "refused"
    """The connection was refused, or the host or the network is unreachable."""
    CONNECT_TIMEOUT = "connect_timeout"
    TIMEOUT = "timeout"
    """Connected, but the answer was not complete at the deadline."""
    RESET = "reset"
    """The connection ended before the answer was complete."""
    TLS = "tls"
    BLOCKED = "blocked_address"
    """Endpoints may not have this address."""
    REDIRECT = "redirect"
    TOO_LARGE = "response_too_large"
    INVALID = "invalid_response"
    """The answer is not HTTP/1.1 as we read it."""
    STATUS = "http_status"
    """A complete answer with a status that is neither 2xx nor 3xx."""
    UNSENDABLE = "unsendable"
    """A URL or a header cannot be put into an HTTP request; nothing was sent."""
    TRANSFORM = "transformation"
    """The subscription's transformation failed for this event; nothing was sent."""
    DISABLED = "disabled"
    """The subscription was disabled or deleted while the delivery waited; nothing was sent."""
    INTERNAL = "internal"
    """Our own fault."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt. With an error, `status_code` is the status of the answer as far as it came."""

    status_code: int | None
    error: ErrorClass | None
    """None for success: a complete answer with a 2xx status."""
    detail: str
    """For people: one line, no secrets, at most DETAIL_CHARACTERS."""
    latency_ms: float
    response_headers: dict[str, str]
    """Names in lower case; the values of repeated headers are joined with a comma."""
    response_excerpt: str
    retry_after: str | None
    """The header as it came; delivery.retries parses it."""

    @property
    def succeeded(self) -> bool:
        return self.error is None


def answered(status_code: int, headers: Mapping[str, str], body: bytes, latency_ms: float) -> Outcome:
    """The outcome of a complete answer."""
    error, detail = _judge(status_code, headers)
    return _outcome(status_code, error, detail, latency_ms, headers, body)


def failed(
    error: ErrorClass,
    detail: str,
    latency_ms: float = 0.0,
    *,
    status_code: int | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Outcome:
    """The outcome of an attempt without a complete answer; the last three arguments are the part that came."""
    return _outcome(status_code, error, detail, latency_ms, headers or {}, body)


def _judge(status_code: int, headers: Mapping[str, str]) -> tuple[ErrorClass | None, str]:
    if 200 <= status_code < 300:
        return None, ""
    if 300 <= status_code < 400:
        where = origin(headers.get("location", ""))  # without the path, which may be a credential
        return ErrorClass.REDIRECT, f"{status_code}: redirects are not followed" + (f" (to {where})" if where else "")
    if status_code < 200:
        return ErrorClass.INVALID, f"{status_code} is not a final status"
    return ErrorClass.STATUS, f"status {status_code}"


def _outcome(
    status_code: int | None,
    error: ErrorClass | None,
    detail: str,
    latency_ms: float,
    headers: Mapping[str, str],
    body: bytes,
) -> Outcome:
    return Outcome(
        status_code=status_code,
        error=error,
        detail=_printable(detail)[:DETAIL_CHARACTERS],
        latency_ms=round(latency_ms, 3),
        response_headers=_kept(headers),
        response_excerpt=_excerpt(body, headers.get("content-type", "")) if body else "",
        retry_after=_printable(headers["retry-after"])[:100] if "retry-after" in headers else None,
    )


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The first headers, shortened, without credentials."""
    everything = "".join((*headers, *headers.values()))
    is_short = len(everything) <= _KEPT_HEADER_CHARACTERS and len(headers) <= _KEPT_HEADERS
    if is_short and everything.isascii() and everything.isprintable():  # the common case
        return {name: value for name, value in headers.items() if name not in _NOT_KEPT}
    kept: dict[str, str] = {}
    room = _KEPT_HEADERS_CHARACTERS
    for name, value in headers.items():
        if name in _NOT_KEPT:
            continue
        short_name = _printable(name)[:_KEPT_HEADER_CHARACTERS]
        short_value = _printable(value)[:_KEPT_HEADER_CHARACTERS]
        room -= len(short_name) + len(short_value)
        if room < 0 or len(kept) == _KEPT_HEADERS:
            break
        kept[short_name] = short_value
    return kept


def _excerpt(body: bytes, content_type: str) -> str:
    """The start of a body as text. Bytes that are invalid in the declared charset, and NUL, become U+FFFD."""
    match = _CHARSET.search(content_type)
    text = body[:EXCERPT_BYTES].decode(_known_codec(match[1]) if match else "utf-8", errors="replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _known_codec(charset: str) -> str:
    """The codec of a charset, utf-8 if unknown. Python also has codecs that are slow or make no text, such as zip.

    Python itself is not asked: it keeps every unknown name for ever.
    """
    name = normalize_encoding(charset.lower())
    name = aliases.get(name, name)
    return name if name in _TEXT_CODECS else "utf-8"


def _printable(text: str) -> str:
    """The text on one line, without control characters and lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    cleaned = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else " " for character in cleaned)
