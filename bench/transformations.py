"""The time of routing, filters, transformations and schemas, in microseconds: `python -m bench.transformations`.

The event is an order with twelve line items (about 4 KB). Every figure is the best of a hundred short rounds, because
other programs use the machine too.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from jsonpath_ng.ext.parser import parse

from delivery.routing import Route, RoutingIndex
from partners.budget import Budget
from partners.envelope import Envelope
from partners.event_schemas import compile_schema
from partners.exact_json import check, dumps, loads
from partners.filters import compile_filter
from partners.paths import Scope, compile_path
from partners.transform import compile_transformation

ITEM = (
    '{"id":866550311766439020,"sku":"IPOD-8","title":"IPod Nano - 8GB","variant_title":null,"quantity":1,'
    '"price":"199.00","grams":567,"taxable":true,"properties":[{"name":"engraving","value":"J.S."}],'
    '"tax_lines":[{"rate":0.13}],"price_set":{"shop_money":{"amount":"199.00","currency_code":"USD"}}}'
)
DATA = (
    '{"id":820982911946154508,"name":"#9999","email":"jon@example.com","created_at":"2026-11-23T04:15:26-05:00","currency":'
    '"USD","total_price":"398.00","total_weight":700,"note":null,"customer":{"id":115310627314723954,"first_name":"Jon",'
    '"default_address":{"city":"Ottawa","latitude":45.416340}},"line_items":[' + ",".join([ITEM] * 12) + "]}"
).encode()
FLAT = {"map": {"id": "$.data.id", "name": "$.data.name", "city": "$.data.customer.default_address.city"}}
RICH = {
    "map": {
        **FLAT["map"],
        "at": {"$date": "$.data.created_at", "$format": "unix"},
        "total": {"$number": "$.data.total_price"},
        "skus": {"$join": "$.data.line_items[*].sku", "$separator": ","},
        "items": {"$each": "$.data.line_items", "$to": {"sku": "@.sku", "price": "@.price", "quantity": "@.quantity"}},
    }
}
EDITS = {"omit": ["$.data.email", "$.data.line_items[*].tax_lines"], "rename": {"$.data.id": "order_id"}}
SCHEMA = {
    "type": "object",
    "required": ["id", "line_items"],
    "properties": {
        "id": {"type": "integer"},
        "line_items": {"type": "array", "items": {"required": ["sku"], "properties": {"price": {"type": "string"}}}},
    },
}
PATHS = [
    "$.data.id",
    "$.data.customer.default_address.city",
    "$.data.line_items[0].price",
    "$.data.line_items[*].price",
]
FILTERS = [
    "$.data[?(@.total_price > 100)]",
    "$.data.line_items[?(@.sku == 'X')]",
    "$.data.customer.email",
    "$..[?(@.sku)]",
]


def microseconds(work: Callable[[], Any], times: int = 20) -> float:
    """The best of many short rounds: the time of a round that nothing interrupts."""
    best = float("inf")
    for _ in range(100):
        started = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - started) / times)
    return best * 1e6


def event() -> Envelope:
    return Envelope("evt_1", "orders.created", "2026-11-23T09:15:27Z", DATA)


def routing() -> Iterator[tuple[str, float]]:
    yield from _routing(1_000)
    yield from _routing(100_000)


def _routing(count: int) -> Iterator[tuple[str, float]]:
    index = RoutingIndex(Route(f"sub{n}", "ptr", (f"type{n % 10_000}.made", f"other{n}.*")) for n in range(count))
    types = cycle(random.Random(1).choices([f"type{n}.made" for n in range(1_000)], k=5_000))
    yield f"routing one event, {count} subscriptions", microseconds(lambda: index.matching(next(types)), 500)
    change = Route("sub5", "ptr", ("type5.made", "other5.*"))
    yield f"changing one of {count} subscriptions", microseconds(lambda: index.put(change))


def reading() -> Iterator[tuple[str, float]]:
    tree = loads(DATA)
    yield "check", microseconds(lambda: check(DATA))
    yield "read exactly", microseconds(lambda: loads(DATA))
    yield "write", microseconds(lambda: dumps(tree))
    yield "default body", microseconds(lambda: event().body)
    schema = compile_schema(json.dumps(SCHEMA))
    yield "validate by schema", microseconds(lambda: schema.check(DATA))


def paths() -> Iterator[tuple[str, float]]:
    tree, plain = event().tree, {"data": json.loads(DATA)}
    for text in PATHS:
        ours, theirs = compile_path(text), parse(text)
        scope = Scope(tree, Budget(max_steps=10**12))
        find = ours.first if ours.is_definite else ours.all
        yield f"{text}: compile", microseconds(lambda text=text: compile_path(text), 3)  # type: ignore[misc]
        yield f"{text}: jsonpath-ng parses", microseconds(lambda text=text: parse(text), 3)  # type: ignore[misc]
        yield f"{text}: find", microseconds(lambda find=find, scope=scope: find(scope))  # type: ignore[misc]
        yield f"{text}: jsonpath-ng finds", microseconds(lambda theirs=theirs: theirs.find(plain))  # type: ignore[misc]


def specifications() -> Iterator[tuple[str, float]]:
    read = event()
    _ = read.tree
    for text in FILTERS:
        filter_ = compile_filter(text)
        yield f"filter {text}", microseconds(lambda filter_=filter_: filter_.matches(read))  # type: ignore[misc]
    for name, spec in (("3 fields", FLAT), ("7 fields, 12 items", RICH), ("omit and rename", EDITS)):
        compiled = compile_transformation(json.dumps(spec))
        apply = compiled.apply
        yield f"transform, {name}", microseconds(lambda apply=apply: apply(read))  # type: ignore[misc]
        yield f"transform, {name}, with reading", microseconds(lambda apply=apply: apply(event()))  # type: ignore[misc]


def main() -> None:
    print(f"event data: {len(DATA)} bytes")
    for part in (routing, reading, paths, specifications):
        for what, cost in part():
            print(f"{cost:>10.2f} us  {what}")


if __name__ == "__main__":
    main()
