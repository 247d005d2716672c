"""The events' data: orders as a shop platform sends them, of a given size.

Each holds a marker, `#e<number>-<nanoseconds>`: the event's number in the run and its scheduled time. The receiver
finds the marker in any body without parsing it.
"""

import json
from dataclasses import dataclass

MARKER = b"#e"
_FORM = b"#e%010d-%019d"
MARKER_LENGTH = len(_FORM % (0, 0))


def read_marker(marker: bytes) -> tuple[int, int]:
    """The event's number and its scheduled time in nanoseconds. Raises ValueError if this is no marker."""
    number, _, scheduled_ns = marker.removeprefix(MARKER).partition(b"-")
    return int(number), int(scheduled_ns)


@dataclass(frozen=True, slots=True)
class Payload:
    """The data of an event, with a place for the marker."""

    _head: bytes
    _tail: bytes

    def fill(self, number: int, scheduled_ns: int) -> bytes:
        return self._head + _FORM % (number, scheduled_ns) + self._tail


def order(size: int) -> Payload:
    """An order with as many lines as fit into `size` bytes, and a note that fills the rest."""
    lines: list[dict[str, object]] = []
    while len(_dump(_order([*lines, _line(len(lines))], ""))) <= size:
        lines.append(_line(len(lines)))
    note = "x" * (size - len(_dump(_order(lines, ""))))
    head, _, tail = _dump(_order(lines, note)).partition(_FORM % (0, 0))
    return Payload(head, tail)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _order(lines: list[dict[str, object]], note: str) -> dict[str, object]:
    return {
        "trace": (_FORM % (0, 0)).decode(),
        "order_id": "ord_8821734",
        "number": "#10482",
        "currency": "USD",
        "total_price": "129.90",
        "subtotal_price": "119.90",
        "shipping_price": 10.00,
        "placed_at": "2026-11-23T08:15:42.118Z",
        "shop": {"id": 4711, "domain": "north-trail.example"},
        "customer": {
            "id": 990017,
            "email": "jo.miller@mail.example",
            "first_name": "Jo",
            "last_name": "Miller",
            "accepts_marketing": True,
            "tags": ["returning", "newsletter"],
        },
        "shipping_address": {"city": "Leeds", "zip": "LS1 4AP", "country_code": "GB"},
        "line_items": lines,
        "note": note,
    }


def _line(number: int) -> dict[str, object]:
    return {
        "id": 5_500_000 + number,
        "sku": f"NT-{number:04d}-BLK",
        "title": "Trail shoe, waterproof",
        "quantity": 1 + number % 3,
        "price": "59.95",
    }
