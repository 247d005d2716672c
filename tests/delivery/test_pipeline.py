"""Many deliveries at a time are loaded, sent and recorded together; each is settled once, after its commit."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from django.db import OperationalError

from delivery.breaker import FAILURES_IN_A_ROW, Breaker, Opened
from delivery.deliver import Tools
from delivery.due import Due
from delivery.errors import Postponed
from delivery.jobs import Job
from delivery.outcomes import Outcome, answered
from delivery.pipeline import LARGEST_BATCH, Pipeline
from delivery.quarantine import Quarantine
from delivery.recorder import AttemptRecord
from delivery.sending import Request
from delivery.stages import Dead, DeliveryMessage, Stages
from delivery.turns import Turns
from delivery.waits import current_task, offload, rest
from tests.delivery.broker.waiting import until
from tests.delivery.test_deliver import ENDPOINT, JOB, OK, NothingShared

FAILED = answered(500, {}, b"", 1)


class World:
    """Fakes of everything that the pipeline uses. `log` has all that it does, in order."""

    def __init__(self, turns: Turns, linger_s: float = 0.0) -> None:
        self.turns = turns
        self.log: list[str] = []
        self.loads: list[list[str]] = []
        self.records: list[list[AttemptRecord]] = []
        self.queued: list[list[Due]] = []
        self.sent: list[Request] = []
        self.held_back: list[list[Postponed]] = []
        self.settled: dict[str, Exception | None] = {}
        self.jobs: dict[str, Job | None] = {}
        self.outcome = OK
        self.answers: list[Callable[[Outcome], None]] = []
        self.hangs = False
        self.disabled: list[list[str]] = []
        self.load_gate = self.record_gate = self.disable_gate = threading.Event()
        self.load_gate.set()
        self.load_errors: list[Exception] = []
        self.record_errors: list[Exception] = []
        self.disable_errors: list[Exception] = []
        self.store_errors: list[Exception] = []
        self.unrecordable: dict[str, Exception] = {}
        self.breaker = NothingShared()
        stages = Stages(
            load=self.load,
            send=self.send,
            record=self.record,
            disable=self.disable,
            store_dead=self.store_dead,
            publish=lambda due: self.queued.append(list(due)),
            hold_back=self.hold_back,
        )
        tools = Tools(
            load=lambda _: None,
            breaker=Breaker(self.breaker),
            quarantine=Quarantine(),
            send=lambda _: OK,
            record=lambda _: None,
            user_agent="Recart-Hooks/test",
            connect_timeout_s=5,
            retry_after_cap_s=3600,
            worker="here:1",
            rest=rest,
        )
        self.pipeline = Pipeline(turns, stages, tools, linger_s=linger_s)

    def load(self, ids: Sequence[str]) -> list[Job | None]:
        assert current_task() is not None
        if self.load_errors:
            raise self.load_errors.pop(0)
        self.loads.append(list(ids))
        offload(self.load_gate.wait, 10)
        return [self.jobs.get(id_, replace(JOB, delivery_id=id_)) for id_ in ids]

    def send(self, request: Request, then: Callable[[Outcome], None]) -> None:
        self.sent.append(request)
        if self.hangs:
            self.answers.append(then)
        else:
            then(self.outcome)

    def record(self, records: Sequence[AttemptRecord]) -> list[bool]:
        if self.record_errors:
            raise self.record_errors.pop(0)
        offload(self.record_gate.wait, 10)
        for one in records:
            if one.delivery_id in self.unrecordable:
                raise self.unrecordable[one.delivery_id]
        self.records.append(list(records))
        self.log += [f"recorded {one.delivery_id}" for one in records]
        return [True] * len(records)

    def disable(self, records: Sequence[AttemptRecord]) -> None:
        offload(self.disable_gate.wait, 10)
        if self.disable_errors:
            raise self.disable_errors.pop(0)
        self.disabled.append([one.subscription_id for one in records])

    def store_dead(self, dead: Sequence[Dead]) -> None:
        if self.store_errors:
            raise self.store_errors.pop(0)
        self.log.append(f"stored {' '.join(made.delivery_id for made, _ in dead)}: {dead[0][1]}")

    def hold_back(self, postponed: Sequence[Postponed]) -> None:
        offload(lambda: None)
        self.held_back.append(list(postponed))
        self.log.append("held back")

    def take(self, *ids: str, attempt: int = 1, is_awaited: bool = False) -> None:
        for id_ in ids:

            def settle(error: Exception | None, id_: str = id_) -> None:
                assert id_ not in self.settled, "once"
                self.log.append(f"settled {id_}")
                self.settled[id_] = error

            self.pipeline.take(DeliveryMessage(id_, attempt, settle, f"tag {id_}", is_awaited))

    def wait(self, count: int) -> None:
        until(lambda: len(self.settled) == count, "it comes")


@pytest.fixture
def world(turns: Turns) -> World:
    return World(turns)


def names(count: int, start: int = 0) -> list[str]:
    return [f"dlv_{number}" for number in range(start, start + count)]


def test_messages_that_come_while_a_batch_is_loaded_are_the_next_batch(world: World) -> None:
    world.load_gate = threading.Event()
    world.take("dlv_first")
    until(lambda: bool(world.loads), "it comes")
    world.take(*names(LARGEST_BATCH + 1))
    world.load_gate.set()
    world.wait(LARGEST_BATCH + 2)
    assert [len(batch) for batch in world.loads] == [1, LARGEST_BATCH, 1]


def test_a_record_that_a_queue_waits_for_waits_for_attempts_in_progress_only(turns: Turns) -> None:
    world = World(turns, linger_s=3600)
    world.take("dlv_alone", is_awaited=True)
    world.wait(1)
    world.hangs = True
    world.take("dlv_slow")
    until(lambda: len(world.answers) == 1, "it is sent")
    world.hangs = False
    world.take("dlv_quick", is_awaited=True)
    until(lambda: len(world.loads) == 3, "it is sent")
    turns.soon(lambda: world.answers[0](OK))
    world.wait(3)
    assert [{one.delivery_id for one in batch} for batch in world.records] == [{"dlv_alone"}, {"dlv_slow", "dlv_quick"}]


def test_a_delivery_that_ends_without_a_record_is_not_waited_for(turns: Turns) -> None:
    world = World(turns, linger_s=3600)
    world.jobs["dlv_gone"] = None
    world.take("dlv_quick", is_awaited=True)
    world.take("dlv_gone")
    world.wait(2)


def test_a_record_that_no_queue_waits_for_waits_for_more_attempts(turns: Turns) -> None:
    world = World(turns, linger_s=0.2)
    world.take("dlv_first")
    until(lambda: len(world.loads) == 1, "it is sent")
    world.take("dlv_second")
    world.wait(2)
    assert [len(batch) for batch in world.records] == [2]


def test_a_record_does_not_wait_for_long(turns: Turns) -> None:
    world = World(turns, linger_s=0.01)
    world.hangs = True
    world.take("dlv_slow")
    until(lambda: len(world.answers) == 1, "it is sent")
    world.hangs = False
    world.take("dlv_quick")
    world.wait(1)
    turns.soon(lambda: world.answers[0](OK))
    world.wait(2)


def test_attempts_that_end_during_a_record_are_recorded_together(world: World) -> None:
    world.record_gate = threading.Event()
    world.take("dlv_first")
    until(lambda: bool(world.loads), "it comes")
    world.take(*names(20))
    until(lambda: sum(map(len, world.loads)) == 21, "it comes")
    world.record_gate.set()
    world.wait(21)
    assert len(world.records) <= 3
    assert {one.delivery_id for batch in world.records for one in batch} == {"dlv_first", *names(20)}


def test_a_delivery_is_settled_after_its_attempt_is_recorded(world: World) -> None:
    world.take(*names(5))
    world.wait(5)
    for name in names(5):
        assert world.log.index(f"recorded {name}") < world.log.index(f"settled {name}")
    assert set(world.settled.values()) == {None}
    assert not world.pipeline.begun


def test_a_hanging_request_does_not_delay_others(world: World) -> None:
    world.hangs = True
    world.take("dlv_hangs")
    until(lambda: bool(world.answers), "it comes")
    world.hangs = False
    world.take(*names(3), is_awaited=True)
    world.wait(3)
    assert [message.tag for message in world.pipeline.begun] == ["tag dlv_hangs"]
    world.turns.soon(lambda: world.answers[0](OK))
    world.wait(4)


def test_retries_are_queued_together_and_then_settled(world: World) -> None:
    world.outcome = FAILED
    world.take(*names(3), is_awaited=True)
    world.wait(3)
    assert sorted(due.message_id for batch in world.queued for due in batch) == ["dlv_0:2", "dlv_1:2", "dlv_2:2"]
    assert set(world.settled.values()) == {None}


def test_a_subscription_is_disabled_in_a_task_of_its_own_until_that_succeeds(world: World) -> None:
    world.outcome = answered(410, {}, b"", 1)
    world.disable_gate = threading.Event()
    world.disable_errors = [OperationalError("its row is locked")]
    world.take(*names(2))
    world.wait(2)
    world.outcome = OK
    world.take("dlv_other")
    world.wait(3)
    assert not world.disabled
    world.disable_gate.set()
    until(lambda: bool(world.disabled), "it is disabled")
    assert not world.disable_errors
    world.turns.stop(30)
    assert world.disabled == [[ENDPOINT.subscription_id]], "once, though two were told so"


def test_subscriptions_of_a_partner_that_end_while_others_are_disabled_are_disabled_together(world: World) -> None:
    world.outcome = answered(410, {}, b"", 1)
    world.disable_gate = threading.Event()
    for count, partner_id in enumerate(["ptr_1", "ptr_1", "ptr_1", "ptr_2"], start=1):
        endpoint = replace(ENDPOINT, subscription_id=f"sub_{count}", partner_id=partner_id)
        world.jobs[f"dlv_{count}"] = replace(JOB, delivery_id=f"dlv_{count}", endpoint=endpoint)
        world.take(f"dlv_{count}")
        world.wait(count)
    world.disable_gate.set()
    together = [["sub_1"], ["sub_2", "sub_3"], ["sub_4"]]
    until(lambda: sorted(world.disabled) == together, "another partner's do not wait for them")


def test_last_failures_are_stored_as_failed_tasks_together_and_then_settled(world: World) -> None:
    world.outcome = FAILED
    for name in names(2):
        world.jobs[name] = replace(JOB, delivery_id=name, attempt_count=2)
    world.jobs["dlv_gone"] = None
    world.load_gate = threading.Event()
    world.take("dlv_gone")
    until(lambda: bool(world.loads), "it is being loaded")
    world.take(*names(2), attempt=3)
    world.load_gate.set()
    world.wait(3)
    assert world.settled == dict.fromkeys(["dlv_gone", *names(2)])
    assert world.log[-3:] == ["stored dlv_0 dlv_1: status 500 (attempt 3)", "settled dlv_0", "settled dlv_1"]
    assert world.records[0][0].step.status == "dead"


def test_dead_deliveries_that_cannot_be_stored_as_failed_tasks_are_settled(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.jobs["dlv_0"] = replace(JOB, delivery_id="dlv_0", endpoint=replace(ENDPOINT, stopped="it was deleted"))
    world.store_errors = [ValueError("no such table")]
    world.take("dlv_0")
    world.wait(1)
    assert world.settled == {"dlv_0": None}
    assert "not stored as failed tasks" in caplog.text


def test_a_delivery_that_needs_no_attempt_is_settled_without_one(world: World) -> None:
    world.jobs.update(dlv_gone=None, dlv_done=replace(JOB, status="succeeded"))
    world.take("dlv_gone", "dlv_done")
    world.wait(2)
    assert not world.records


def test_an_attempt_that_cannot_be_sent_is_recorded(world: World) -> None:
    world.jobs["dlv_0"] = replace(JOB, delivery_id="dlv_0", endpoint=replace(ENDPOINT, stopped="it was deleted"))
    world.take("dlv_0")
    world.wait(1)
    assert world.records[0][0].outcome.detail == "it was deleted"


def test_two_messages_of_one_attempt_that_come_together_make_one(world: World) -> None:
    settled: list[str] = []
    world.hangs = True
    for name in ("first", "second"):
        world.pipeline.take(DeliveryMessage("dlv_0", 1, lambda _, name=name: settled.append(name)))  # type: ignore[misc]
    until(lambda: settled == ["second"] and bool(world.answers), "the first is under way")
    world.turns.soon(lambda: world.answers[0](OK))
    until(lambda: settled == ["second", "first"], "it ends")
    assert (len(world.answers), [len(batch) for batch in world.records]) == (1, [1])


def test_a_message_begins_once_when_its_delivery_is_loaded(world: World) -> None:
    begun: list[str] = []
    world.load_gate = threading.Event()
    message = DeliveryMessage("dlv_0", 1, lambda _: None, begins=lambda: begun.append("dlv_0"))
    world.hangs = True
    world.pipeline.take(message)
    until(lambda: bool(world.loads), "it is being loaded")
    assert begun == []
    world.load_gate.set()
    until(lambda: bool(world.answers), "it is under way")
    assert begun == ["dlv_0"]
    world.turns.soon(lambda: world.answers[0](OK))


def test_a_message_of_an_attempt_that_ends_while_the_next_batch_is_loaded_makes_no_other(world: World) -> None:
    """The delivery was loaded before its attempt was recorded, and so still seems to need it."""
    settled: list[str] = []
    world.hangs = True
    world.take("dlv_0")
    until(lambda: bool(world.answers), "it is under way")
    world.load_gate = threading.Event()
    world.pipeline.take(DeliveryMessage("dlv_0", 1, lambda _: settled.append("second")))
    world.take("dlv_1")
    until(lambda: len(world.loads) == 2, "the next batch is being loaded")
    world.turns.soon(lambda: world.answers[0](OK))
    until(lambda: "dlv_0" in world.settled, "it ends")
    world.load_gate.set()
    until(lambda: len(world.answers) == 2, "the other is sent")
    world.turns.soon(lambda: world.answers[1](OK))
    world.wait(2)
    assert settled == ["second"]
    assert [one.delivery_id for batch in world.records for one in batch] == ["dlv_0", "dlv_1"]


def test_an_attempt_that_was_not_made_is_made_when_its_message_comes_again(world: World) -> None:
    world.load_errors = [ValueError("a mistake")]
    world.take("dlv_0")
    world.wait(1)
    assert isinstance(world.settled.pop("dlv_0"), ValueError)
    world.take("dlv_0")
    world.wait(1)
    assert [one.delivery_id for batch in world.records for one in batch] == ["dlv_0"]


def test_a_message_of_a_former_attempt_queues_the_one_that_is_next(world: World) -> None:
    world.jobs["dlv_0"] = replace(JOB, delivery_id="dlv_0", attempt_count=1)
    world.take("dlv_0")
    world.wait(1)
    assert [due.message_id for due in world.queued[0]] == ["dlv_0:2"]
    assert not world.records


def test_a_message_whose_breaker_is_open_is_postponed(world: World) -> None:
    world.breaker.opened[ENDPOINT.subscription_id] = Opened(until=4e9, period_s=5)
    world.load_gate = threading.Event()
    world.take("dlv_first")
    until(lambda: bool(world.loads), "it is being loaded")
    world.take(*names(3), is_awaited=True)
    world.load_gate.set()
    world.wait(4)
    first, postponed = world.held_back
    assert [len(first), len(postponed)] == [1, 3], "together"
    assert {one.subscription_id for one in postponed} == {ENDPOINT.subscription_id}
    assert all(one.until >= 4e9 for one in postponed)
    assert list(world.settled.values()) == [*first, *postponed]
    assert world.log[0] == "held back", "before a place is free for the next one"
    assert not world.records


def test_a_database_that_is_away_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.load_errors, world.record_errors = [OperationalError("load")], [OperationalError("record")]
    world.take("dlv_0")
    world.wait(1)
    assert world.settled == {"dlv_0": None}
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["loading deliveries waits for PostgreSQL", "recording attempts waits for PostgreSQL"]


@pytest.mark.parametrize("stage", ["load_errors", "record_errors"])
def test_an_error_of_ours_ends_its_batch_and_the_next_one_goes_on(world: World, stage: str) -> None:
    mistake = ValueError("a mistake")
    setattr(world, stage, [mistake])
    world.take("dlv_0")
    world.wait(1)
    world.take("dlv_1")
    world.wait(2)
    assert world.settled == {"dlv_0": mistake, "dlv_1": None}


def test_an_attempt_that_cannot_be_recorded_does_not_prevent_the_records_of_others(turns: Turns) -> None:
    world = World(turns, linger_s=3600)
    strange = ValueError("PostgreSQL does not take it")
    world.unrecordable["dlv_1"] = strange
    world.hangs = True
    world.take(*names(3), is_awaited=True)
    until(lambda: len(world.answers) == 3, "they are sent")
    for answer in world.answers:
        turns.soon(partial(answer, OK))
    world.wait(3)
    assert world.settled == {"dlv_0": None, "dlv_1": strange, "dlv_2": None}
    assert [[one.delivery_id for one in batch] for batch in world.records] == [["dlv_0"], ["dlv_2"]]


def test_a_delivery_that_raises_an_exception_ends_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.jobs["dlv_0"] = replace(JOB, delivery_id="dlv_0", endpoint=None)  # type: ignore[arg-type]
    world.take("dlv_0", "dlv_1")
    world.wait(2)
    assert isinstance(world.settled["dlv_0"], AttributeError)
    assert world.settled["dlv_1"] is None
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["a delivery raised an exception"]


def test_a_delivery_whose_breaker_cannot_be_opened_ends_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.outcome = FAILED
    world.breaker.open = None  # type: ignore[method-assign, assignment]  # so that the last failure breaks it
    world.take(*names(FAILURES_IN_A_ROW))
    world.wait(FAILURES_IN_A_ROW)
    assert [type(error) for error in world.settled.values() if error is not None] == [TypeError]
    assert "a delivery raised an exception" in [record.message for record in caplog.records]


def test_messages_are_postponed_even_if_their_queue_cannot_be_held_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.held_back = None  # type: ignore[assignment]  # so that it breaks
    world.breaker.opened[ENDPOINT.subscription_id] = Opened(until=4e9, period_s=5)
    world.take(*names(3), is_awaited=True)
    world.wait(3)
    assert {type(error) for error in world.settled.values()} == {Postponed}
    assert not world.pipeline.begun
    assert "queues were not held back" in [record.message for record in caplog.records]


def test_nothing_is_sent_before_shared_breakers_are_read(world: World) -> None:
    world.breaker.read_gate = threading.Event()
    world.take("dlv_0")
    until(lambda: bool(world.loads), "it is loaded")
    world.breaker.opened[ENDPOINT.subscription_id] = Opened(until=4e9, period_s=5)
    world.breaker.read_gate.set()
    world.wait(1)
    assert isinstance(world.settled["dlv_0"], Postponed)
    assert not world.records


def test_a_delivery_that_may_be_the_probe_does_not_delay_others(world: World) -> None:
    world.breaker.opened["sub_down"] = Opened(until=0, period_s=5)
    world.breaker.gate = threading.Event()
    world.jobs["dlv_0"] = replace(JOB, delivery_id="dlv_0", endpoint=replace(ENDPOINT, subscription_id="sub_down"))
    world.take("dlv_0", "dlv_1")
    world.wait(1)
    assert list(world.settled) == ["dlv_1"]
    world.breaker.gate.set()
    world.wait(2)
    assert isinstance(world.settled["dlv_0"], Postponed)


def test_retries_that_cannot_be_queued_are_left_to_reconciliation(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.outcome = FAILED
    world.queued = None  # type: ignore[assignment]
    world.take(*names(3), is_awaited=True)
    world.wait(3)
    assert set(world.settled.values()) == {None}
    assert "retries were not queued" in [record.message for record in caplog.records]


def test_a_message_that_cannot_be_settled_does_not_prevent_others_from_ending(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_: Exception | None) -> None:
        raise OSError("Celery broke")

    world.pipeline.take(DeliveryMessage("dlv_bad", 1, breaks))
    world.take(*names(4))
    world.wait(4)
    until(lambda: not world.pipeline.begun, "all ended")
    assert "a delivery could not be settled" in [record.message for record in caplog.records]
    world.turns.stop(10)


def test_at_the_end_attempts_that_began_are_finished_and_other_messages_are_left(world: World) -> None:
    world.hangs = True
    world.take("dlv_begun")
    until(lambda: bool(world.answers), "it comes")
    world.turns.refuse()
    world.take("dlv_late")
    world.turns.soon(lambda: world.answers[0](OK))
    world.turns.stop(10)
    assert world.settled == {"dlv_begun": None}
    assert not world.pipeline.begun
