"""Messages of the source that could not become events, with the reasons."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.decorators import display

from delivery.models import DeadLetter
from partners.admin.base import ReadOnlyAdmin
from partners.admin.columns import time_column
from partners.admin.keyset import KeysetAdmin
from partners.admin.looks import code, headers_code, json_code

BYTES_SHOWN = 64 * 1024
_ROW = 16


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin[DeadLetter], KeysetAdmin[DeadLetter]):
    list_display = ("position", "source", "subject", "why", "received")
    search_fields = ("position", "subject", "reason")
    search_help_text = "Position, subject or reason"
    fieldsets = (
        (None, {"fields": (("source", "position"), ("subject", "received"), "reason")}),
        ("Message", {"fields": ("header_lines", "body_shown")}),
    )
    readonly_fields = ("received", "header_lines", "body_shown")

    received = time_column("received_at", "Received")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return super().get_queryset(request).defer("body", "headers")

    @display(description="Reason")
    def why(self, letter: DeadLetter) -> str:
        return Truncator(letter.reason).chars(100)

    @display(description="Headers")
    def header_lines(self, letter: DeadLetter) -> SafeString:
        if not letter.headers:
            return SafeString("-")
        return headers_code("\n".join(f"{name}: {value}" for name, value in letter.headers.items()))

    @display(description="Body")
    def body_shown(self, letter: DeadLetter) -> SafeString:
        return bytes_code(bytes(letter.body))


def bytes_code(body: bytes) -> SafeString:
    """Formats UTF-8 as text, other bytes as a dump in hex and ASCII. Cuts long bodies."""
    shown = body[:BYTES_SHOWN]
    rest = f"\n… {len(body) - len(shown)} more bytes" if len(body) > len(shown) else ""
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        return code("\n".join(_hex_row(shown, start) for start in range(0, len(shown), _ROW)) + rest)
    return json_code(text) if not rest else code(text + rest)


def _hex_row(body: bytes, start: int) -> str:
    row = body[start : start + _ROW]
    readable = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
    return f"{start:06x}  {row.hex(' '):<{3 * _ROW - 1}}  {readable}"
