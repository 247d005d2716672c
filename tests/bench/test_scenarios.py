import json

from bench.payloads import order
from bench.scenarios import MAIN, TRANSFORMATION
from partners.envelope import Envelope
from partners.preview import preview


def test_every_part_of_the_transformation_finds_something() -> None:
    event = Envelope("evt_1", "orders.created", "2026-11-23T08:15:42Z", order(MAIN.size).fill(1, 1))

    shown = preview("", TRANSFORMATION, event)

    assert (shown.problems, shown.hints) == ((), ())
    assert shown.body is not None
    assert json.loads(shown.body)["lines"][0] == {"sku": "NT-0000-BLK", "amount": 1}
