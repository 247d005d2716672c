"""The messages of delivery tasks go to the pipeline, except those that are left to Celery."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, cast

import pytest
from celery.worker import state

from delivery.errors import Postponed
from delivery.fan_outs import FanOutMessage
from delivery.pool import WorkerExecutor
from delivery.publish import VERSION
from delivery.stages import DeliveryMessage
from delivery.strategy import Handler, endings, pipelined
from delivery.tasks import deliver
from recart_hooks.celery import app

Taken = TypeVar("Taken")

LEASE = object()


class Message:
    """A message as a worker gets it."""

    def __init__(self, payload: Any, **headers: Any) -> None:
        self.payload = payload
        self.headers = {"id": "dlv_1:1", "message_version": VERSION, **headers}
        self.delivery_tag = LEASE
        self.delivery_info = {"routing_key": "partner.ptr_1"}
        self.is_awaited = False
        self.delays: list[float] = []
        self.is_waiting = False

    def waits(self) -> None:
        self.is_waiting = True

    def begins(self) -> None:
        self.is_waiting = False

    def put_off(self, delay_s: float) -> None:
        self.delays.append(delay_s)


class Fake(Generic[Taken]):
    """A pipeline, or fan-outs: keeps the messages that it takes."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.begun = self.taken

    def take(self, message: Taken) -> None:
        self.taken.append(message)


class World:
    def __init__(self, executor: Any) -> None:
        self.by_celery: list[Any] = []
        self.acknowledged = 0
        self.ends = False
        consumer = SimpleNamespace(
            pool=SimpleNamespace(executor=executor),
            connection_errors=(),
        )
        self.handler = pipelined(deliver, app, consumer, celerys_own=self.celerys_own)

    def celerys_own(self, *_: Any) -> Handler:
        def handler(message: Any, *_: Any) -> None:
            if self.ends:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.by_celery.append(message)

        return handler

    def come(self, message: Message) -> None:
        self.handler(message, None, self.acknowledge, None, [])

    def acknowledge(self, *_: Any) -> None:
        self.acknowledged += 1


@pytest.fixture
def executor() -> Iterator[WorkerExecutor]:
    executor = WorkerExecutor(1)
    executor.pipeline = Fake[DeliveryMessage]()  # type: ignore[assignment]
    executor.fan_outs = Fake[FanOutMessage]()  # type: ignore[assignment]
    yield executor
    executor.shutdown()


def taken(executor: WorkerExecutor) -> list[DeliveryMessage]:
    return cast("Fake[DeliveryMessage]", executor.pipeline).taken


GOOD = Message([["dlv_1", 1], {}, {}])


def test_a_fan_out_is_taken_and_acknowledged_or_put_back(executor: WorkerExecutor) -> None:
    world, messages = World(executor), [Message([["fan_1"], {}, {}]) for _ in range(2)]
    for message in messages:
        world.come(message)
    done, more = cast("Fake[FanOutMessage]", executor.fan_outs).taken
    assert (done.fan_out_id, done.queue) == ("fan_1", "partner.ptr_1")
    assert list(executor.begun) == [LEASE, LEASE]
    done.settle(None)
    more.settle(2.5)
    assert (world.acknowledged, world.by_celery, messages[1].delays) == (1, [], [2.5])


def test_the_pipeline_takes_a_delivery_and_its_end_is_acknowledged(executor: WorkerExecutor) -> None:
    world, message = World(executor), Message([["dlv_1", 1], {}, {}])
    world.come(message)
    (one,) = taken(executor)
    assert (one.delivery_id, one.attempt, message.is_waiting) == ("dlv_1", 1, True)
    one.begins()
    assert not message.is_waiting
    assert list(executor.begun) == [LEASE]
    assert world.acknowledged == 0
    counted = state.all_total_count[0]
    one.settle(None)
    assert (world.acknowledged, world.by_celery) == (1, [])
    assert state.all_total_count[0] == counted + 1


def test_a_postponed_message_goes_back_until_its_time(executor: WorkerExecutor) -> None:
    world = World(executor)
    message = Message([["dlv_1", 1], {}, {}])
    world.come(message)
    taken(executor)[0].settle(Postponed(time.time() + 60, "sub_1", "ptr_1"))
    (delay_s,) = message.delays
    assert 59 < delay_s <= 60
    assert (world.acknowledged, world.by_celery) == (0, [])


def test_a_message_of_an_ordinary_queue_is_left_to_celery(executor: WorkerExecutor) -> None:
    world = World(executor)
    message = SimpleNamespace(headers=GOOD.headers, payload=GOOD.payload)  # without `put_off`, as kombu's own
    world.come(message)  # type: ignore[arg-type]
    assert (world.by_celery, taken(executor)) == ([message], [])


def test_a_delivery_that_raised_an_error_is_run_by_celery_and_raises_its_error(executor: WorkerExecutor) -> None:
    world = World(executor)
    world.come(GOOD)
    error = ValueError("our own fault")
    taken(executor)[0].settle(error)
    assert (world.acknowledged, world.by_celery) == (0, [GOOD])
    assert endings == {"dlv_1:1": error}
    with pytest.raises(ValueError, match="our own fault"):
        deliver.apply(("dlv_1", 1), task_id="dlv_1:1", throw=True)
    assert endings == {}


def test_the_error_of_a_delivery_lets_go_of_its_frames() -> None:
    endings["dlv_1:1"] = ValueError("our own fault")
    with pytest.raises(ValueError, match="our own fault") as raised:
        deliver.apply(("dlv_1", 1), task_id="dlv_1:1", throw=True)
    deliver.on_failure(raised.value, "dlv_1:1", ("dlv_1", 1), {}, None)
    assert raised.value.__traceback__ is None


def test_a_delivery_that_failed_while_the_pool_ends_is_left_to_another_worker(executor: WorkerExecutor) -> None:
    world = World(executor)
    world.ends = True
    world.come(GOOD)
    taken(executor)[0].settle(ValueError("our own fault"))
    assert world.acknowledged == 0
    assert endings == {}


@pytest.mark.parametrize(
    "message",
    [
        Message([["dlv_1", 1], {}, {}], message_version=VERSION + 1),
        Message([["dlv_1", 1], {}, {}], message_version="2"),
        Message([["dlv_1", 1], {}, {}], message_version=None),
        Message([["dlv_1", 1, "more"], {}, {}]),
        Message([[7, "dlv_1"], {}, {}]),
        Message({"args": ["dlv_1", 1]}),
    ],
    ids=[
        "newer",
        "a version in words",
        "a version that is none",
        "too many arguments",
        "other arguments",
        "an older protocol",
    ],
)
def test_other_messages_are_left_to_celery(executor: WorkerExecutor, message: Message) -> None:
    world = World(executor)
    world.come(message)
    assert (taken(executor), world.by_celery) == ([], [message])


def test_in_another_pool_everything_is_left_to_celery() -> None:
    world = World(None)
    world.come(GOOD)
    assert world.by_celery == [GOOD]
