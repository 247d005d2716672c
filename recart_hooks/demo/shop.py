"""The demo shop: an endless, plausible sequence of events."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

_NAMES = ("Ada", "Grace", "Linus", "Margaret", "Edsger", "Barbara", "Alan", "Radia", "Donald", "Frances")
_PRODUCTS = (
    ("Organic tee", "24.00"),
    ("Trail shoes", "129.90"),
    ("Enamel mug", "14.50"),
    ("Wool socks", "11.00"),
    ("Rain jacket", "89.00"),
    ("Candle, fig", "19.90"),
    ("Gift card", "30.00"),
)
_CURRENCIES = ("USD", "EUR", "GBP")

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShopEvent:
    """One event to publish. `data` is JSON."""

    id: str
    type: str
    data: bytes
    title: str
    """For the terminal."""


class Shop:
    """Most orders are paid, some cancelled or refunded, some carts abandoned. Always the same sequence."""

    def __init__(self, run: str) -> None:
        """`run` is part of each event's id, so that runs share no ids."""
        self._run = run
        self._random = random.Random(2026)  # noqa: S311 - nothing secret
        self._number = 1000
        self._events = 0

    def events(self) -> Iterator[ShopEvent]:
        while True:
            self._number += 1
            order = self._order()
            chance = self._random.random()
            if chance < 0.15:
                yield self._event("carts.abandoned", self._cart(order))
                continue
            yield self._event("orders.created", order)
            if chance < 0.22:
                yield self._event("orders.cancelled", self._of(order, cancelled_at=_now(), reason="inventory"))
                continue
            yield self._event("orders.paid", self._of(order, "currency", "total_price", paid_at=_now()))
            if chance > 0.6:
                yield self._event("reviews.requested", self._review(order))
            if chance > 0.92:
                yield self._event("refunds.created", self._refund(order))

    def _event(self, type_: str, data: Data) -> ShopEvent:
        self._events += 1
        amount = data.get("total_price") or data.get("amount")
        words = [f"#{self._number}", f"{amount} {data['currency']}" if amount else "", self._shopper(data)]
        title = " ".join(word for word in words if word)
        return ShopEvent(f"{event_prefix(self._run)}{self._events:06}", type_, orjson.dumps(data), title)

    def _shopper(self, data: Data) -> str:
        return str(data.get("customer", {}).get("first_name", ""))

    def _order(self) -> Data:
        items = [self._item() for _ in range(self._random.choice((1, 1, 2, 3)))]
        cents = sum(item["quantity"] * int(item["price"].replace(".", "")) for item in items)
        name = self._random.choice(_NAMES)
        return {
            "id": 5_678_900_000_000 + self._number,
            "number": f"#{self._number}",
            "currency": self._random.choice(_CURRENCIES),
            "total_price": f"{cents // 100}.{cents % 100:02}",
            "created_at": _now(),
            "customer": {
                "id": 7_012_000_000_000 + self._random.randrange(10**6),
                "email": f"{name.lower()}@example.com",
                "first_name": name,
            },
            "shipping_address": {"city": "Tallinn", "country_code": "EE", "postal_code": "10111"},
            "line_items": items,
        }

    def _item(self) -> Data:
        number = self._random.randrange(len(_PRODUCTS))
        title, price = _PRODUCTS[number]
        quantity = self._random.choice((1, 1, 1, 2))
        return {"product_id": 8_123_000_000_000 + number, "title": title, "quantity": quantity, "price": price}

    def _of(self, order: Data, *names: str, **more: Any) -> Data:
        return {name: order[name] for name in ("id", "number", *names, "customer")} | more

    def _cart(self, order: Data) -> Data:
        kept = {name: order[name] for name in ("currency", "total_price", "line_items", "customer")}
        return {"token": f"cart-{self._number}", "abandoned_at": _now(), **kept}

    def _review(self, order: Data) -> Data:
        products = [{name: item[name] for name in ("product_id", "title")} for item in order["line_items"]]
        customer = order["customer"]
        return {"order_id": order["id"], "customer": customer, "products": products, "requested_at": _now()}

    def _refund(self, order: Data) -> Data:
        item = order["line_items"][0]
        amount = {"currency": order["currency"], "amount": item["price"]}
        return {"id": 912_000_000_000 + self._number, "order_id": order["id"], **amount, "created_at": _now()}


def event_prefix(run: str) -> str:
    """The prefix of the ids of a run's events."""
    return f"evt_demo_{run}_"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
