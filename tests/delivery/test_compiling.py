"""A transformation that takes long to compile delays the deliveries that need it, and no others."""

import threading
from dataclasses import replace

import pytest

from delivery.compiling import Compiler, LateTransformation
from delivery.turns import Turns
from partners.errors import TransformError
from partners.transform import Transformation, compile_transformation
from tests.delivery.broker.waiting import until
from tests.delivery.test_deliver import ENDPOINT, JOB
from tests.delivery.test_pipeline import World


class Held:
    """Compiles when the test lets it go on. `asked` are the texts, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.goes_on = threading.Event()

    def __call__(self, text: str) -> Transformation:
        self.asked.append(text)
        self.goes_on.wait(10)
        return compile_transformation(text)


def mapped(number: int) -> str:
    return f'{{"map": {number}}}'


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def world(turns: Turns, held: Held) -> World:
    """Of the deliveries 1 to 3, the last is another partner's; each has a transformation of its own."""
    world, compiler = World(turns), Compiler(held)
    for number, partner_id in ((1, "ptr_1"), (2, "ptr_1"), (3, "ptr_2")):
        late = LateTransformation("sub_1", partner_id, mapped(number), compiler)
        endpoint = replace(ENDPOINT, partner_id=partner_id, transform=late)
        world.jobs[f"dlv_{number}"] = replace(JOB, delivery_id=f"dlv_{number}", endpoint=endpoint)
    return world


def test_other_deliveries_of_the_batch_do_not_wait_while_a_transformation_is_compiled(world: World, held: Held) -> None:
    world.take("dlv_1", "dlv_plain")
    until(lambda: list(world.settled) == ["dlv_plain"], "it has no transformation")
    held.goes_on.set()
    world.wait(2)
    assert world.sent[1].body == b"1"


def test_a_partner_has_one_transformation_compiled_at_a_time(world: World, held: Held) -> None:
    world.take("dlv_1", "dlv_2", "dlv_3", "dlv_plain")
    until(lambda: list(world.settled) == ["dlv_plain"], "it has no transformation")
    held.goes_on.set()
    world.wait(4)
    assert held.asked == [mapped(1), mapped(3), mapped(2)]


def test_a_transformation_that_does_not_compile_any_more_fails_and_the_next_is_compiled() -> None:
    compiler = Compiler()
    for _ in range(2):
        with pytest.raises(TransformError, match="cannot be used"):
            LateTransformation("sub_1", "ptr_1", '{"map": {"$nonsense": 1}}', compiler).apply(JOB.envelope)
    assert LateTransformation("sub_1", "ptr_1", mapped(1), compiler).apply(JOB.envelope) == b"1"


def test_a_partner_with_many_large_transformations_has_some_of_them_compiled_again(held: Held) -> None:
    held.goes_on.set()
    compiler = Compiler(held, max_chars=len(mapped(1)))
    first, second = (LateTransformation("sub_1", "ptr_1", mapped(number), compiler) for number in (1, 2))
    other = LateTransformation("sub_2", "ptr_2", mapped(3), compiler)
    for one in (first, other, second, other, second, first):
        one.apply(JOB.envelope)
    assert held.asked == [mapped(1), mapped(3), mapped(2), mapped(1)]
