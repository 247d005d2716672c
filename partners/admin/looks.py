"""Renders values as HTML: badges, times, JSON and HTTP headers. All values are escaped here.

JSON is indented token by token, which keeps the spelling of numbers and repeated keys.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from partners.errors import JSONError
from partners.exact_json import check
from partners.wording import span

Kind = Literal["success", "info", "warning", "danger", ""]

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_CREDENTIAL = re.compile(r"authorization|cookie|token|secret|password|api-?key|credential", re.IGNORECASE)
MASK = "••••••••"
LARGEST_SHOWN = 300_000
"""In characters. Longer JSON is shown without indentation and colours."""


def badge(text: str, kind: Kind = "", title: str = "") -> SafeString:
    return format_html('<span class="rh-badge rh-{}" title="{}">{}</span>', kind or "plain", title, text)


def moment(value: datetime | None, empty: str = "-") -> SafeString:
    """A time in UTC; the tooltip says how long ago it was."""
    if value is None:
        return conditional_escape(empty)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', value.isoformat(), ago(value), f"{value:%Y-%m-%d %H:%M:%S}"
    )


def ago(value: datetime, now: datetime | None = None) -> str:
    """`3 min ago`, `in 2 h`: in one unit, rounded down."""
    left = value - (now or timezone.now())
    text = span(abs(left))
    return f"in {text}" if left > timedelta() else f"{text} ago"


def milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.3g} s"


def short(identifier: str) -> SafeString:
    """The prefix and the random end of an identifier, for narrow columns; the tooltip has the whole."""
    prefix, _, rest = identifier.partition("_")
    text = f"{prefix}_…{rest[-8:]}" if len(rest) > 24 else identifier
    return format_html('<span class="rh-id" title="{}">{}</span>', identifier, text)


def lines(values: Iterable[str]) -> SafeString:
    return format_html_join(mark_safe("<br>"), "{}", ((value,) for value in values))


def code(text: str) -> SafeString:
    """Unchanged text, in a box that scrolls."""
    return format_html('<pre class="rh-code">{}</pre>', text)


def json_code(text: str) -> SafeString:
    """JSON, indented and coloured. Other text is shown unchanged."""
    if len(text) > LARGEST_SHOWN or not is_json(text):
        return code(text)
    return format_html('<pre class="rh-code rh-json">{}</pre>', mark_safe("".join(_coloured(text))))  # noqa: S308 - escaped in _coloured


def headers_code(text: str) -> SafeString:
    """`name: value` lines. The values of credentials are masked."""
    return format_html('<pre class="rh-code">{}</pre>', format_html_join("\n", "<b>{}</b>: {}", _headers(text)))


def hide_credential(name: str, value: str) -> str:
    return MASK if _CREDENTIAL.search(name) else value


def is_json(text: str) -> bool:
    try:
        check(text.encode())
    except (JSONError, UnicodeEncodeError):
        return False
    return True


def _headers(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        yield name, hide_credential(name, value)


def _coloured(text: str) -> Iterator[str]:
    for part, kind in _laid_out(text):
        escaped = conditional_escape(part)
        yield f'<span class="rh-{kind}">{escaped}</span>' if kind else escaped


def _laid_out(text: str) -> Iterator[tuple[str, str]]:
    """Pieces of output and their kinds: `key`, `string`, `value`, or empty for punctuation."""
    parts = _PART.findall(text)
    level = 0
    for position, part in enumerate(parts):
        following = parts[position + 1] if position + 1 < len(parts) else ""
        before = parts[position - 1] if position else ""
        if part in "}]":
            level = max(level - 1, 0)
            yield ("" if before in {"{", "["} else "\n" + "  " * level) + part, ""
        elif part in "{[":
            level += 1
            yield part + ("" if following in {"}", "]"} else "\n" + "  " * level), ""
        elif part == ",":
            yield ",\n" + "  " * level, ""
        elif part == ":":
            yield ": ", ""
        elif part.startswith('"'):
            yield part, "key" if following == ":" else "string"
        else:
            yield part, "value"
