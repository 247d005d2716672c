"""A long transformation delays no other delivery, no socket and no timer."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from delivery.turns import Turns
from partners.transform import compile_transformation
from tests.delivery.test_deliver import ENDPOINT, JOB
from tests.delivery.test_pipeline import World, names

LOOKS_AGAIN_FOR_EACH = "$.data.items[*].*[?($.data.items[*].*[?(@.sku == 'x')])]"
LONG = compile_transformation(
    json.dumps({"map": [{"$if": LOOKS_AGAIN_FOR_EACH, "$then": 1, "$else": {"$sum": "$.data.items[*].price"}}] * 3})
)
SHORT = compile_transformation('{"map": "$.data.items[0]"}')
JOB_WITH_ITEMS = replace(JOB, data=json.dumps({"items": [{"sku": "a", "price": "0.10", "more": [{}]}] * 20}))
ALL_SENT = b"[2.00,2.00,2.00]"


@pytest.fixture
def turns() -> Iterator[Turns]:
    """A loop that the test starts, and in which each call of `rest` gives way."""
    turns = Turns("test", helpers=4, longest_turn_s=0)
    yield turns
    turns.stop(10)


@pytest.fixture
def world(turns: Turns) -> World:
    """Sixteen deliveries with a long transformation have been taken."""
    world = World(turns)
    for name in names(16):
        world.jobs[name] = replace(JOB_WITH_ITEMS, delivery_id=name, endpoint=replace(ENDPOINT, transform=LONG))
    world.take(*names(16))
    return world


def test_a_long_transformation_does_not_delay_other_deliveries(world: World) -> None:
    short = replace(ENDPOINT, transform=SHORT)
    world.jobs["dlv_short"] = replace(JOB_WITH_ITEMS, delivery_id="dlv_short", endpoint=short)
    world.take("dlv_short", "dlv_plain")
    world.turns.start()
    world.wait(18)
    first, second, *others = [request.body for request in world.sent]
    assert JOB.data.encode() in first
    assert second == json.dumps({"sku": "a", "price": "0.10", "more": [{}]}, separators=(",", ":")).encode()
    assert others == [ALL_SENT] * 16, "they do not disturb each other"


def test_sockets_and_timers_are_served_during_long_transformations(world: World) -> None:
    sent: list[int] = []
    """Runs at each turn of the loop."""

    def ring() -> None:
        sent.append(len(world.sent))
        if len(world.sent) < 17:
            world.turns.call_later(0, ring)

    world.take("dlv_plain")
    world.turns.soon(ring)
    world.turns.start()
    world.wait(17)
    assert sent.count(1) > 20, "after the one that has none, and before the first of the others"
