"""Flower gets events of recorded attempts: of all if they are few, and the number of the others if they are many."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from celery.events.state import State
from django.db import connection

from delivery.flower_feed import FAILURES_PER_SUCCESS, NOT_SHOWN, FlowerFeed, Names
from delivery.outcomes import ErrorClass, answered, failed
from delivery.retries import Step
from partners.connections import BoundedConnection
from partners.services import create_partner
from tests.delivery.metrics.test_attempts import GOOD
from tests.proxy import Proxy

RETRIED = replace(GOOD, outcome=failed(ErrorClass.TIMEOUT, "no answer within 15 s", 15_000), step=Step("pending", 5.0))
DEAD = replace(GOOD, delivery_id="dlv_2", outcome=answered(503, {}, b"", 20.0), step=Step("dead"))


class Known(Names):
    def of(self, partner_ids: Any) -> Mapping[str, str]:
        return {"ptr_1": "Awesome Reviews"}


class Dispatcher:
    """Replaces Celery's dispatcher: passes each flushed event to Celery's view of a cluster, on which Flower builds."""

    def __init__(self, *groups: str) -> None:
        self.enabled = True
        self.groups = set(groups)
        self.buffer_group: Any = frozenset()
        self.buffer_limit = 24
        self.buffer: list[dict[str, Any]] = []
        self.messages: list[list[dict[str, Any]]] = []
        self.clock = 0

    def send(self, type: str, **fields: Any) -> None:
        assert "task" in self.buffer_group
        self.clock += 1
        same = {"hostname": "worker@here", "clock": self.clock, "local_received": 0.0, "timestamp": 0.0}
        self.buffer.append({**same, "type": type, **fields})

    def flush(self) -> None:
        if self.buffer:
            self.messages.append(self.buffer)
            self.buffer = []

    @property
    def cluster(self) -> Any:
        state: Any = State()
        for event in (event for message in self.messages for event in message):
            state.event(dict(event))
        return state


def feed(dispatcher: Dispatcher, per_s: int = 10) -> FlowerFeed:
    made = FlowerFeed(per_s, Known())
    made.follow(dispatcher)
    return made


def test_an_attempt_is_a_task_with_partner_event_type_and_outcome() -> None:
    dispatcher = Dispatcher()
    one = feed(dispatcher)
    one.add([GOOD, DEAD])
    one.flush()
    (message,) = dispatcher.messages
    assert len(message) == 6
    tasks = dispatcher.cluster.tasks
    good, dead = tasks["dlv_1:1"], tasks["dlv_2:1"]
    assert (good.name, good.state, good.runtime) == ("delivery.deliver orders.created", "SUCCESS", 0.012)
    assert good.args == "Awesome Reviews, attempt 1, dlv_1, ptr_1"
    assert good.received == good.started == GOOD.started_at.timestamp()
    assert good.succeeded == pytest.approx(GOOD.started_at.timestamp() + 0.012, abs=0.001)
    assert (dead.state, dead.exception) == ("FAILURE", "status 503")


def test_a_retry_is_shown_as_one() -> None:
    dispatcher = Dispatcher()
    one = feed(dispatcher)
    one.add([RETRIED])
    one.flush()
    task = dispatcher.cluster.tasks["dlv_1:1"]
    assert (task.state, task.exception, task.worker.hostname) == ("RETRY", "no answer within 15 s", "worker@here")


def test_attempts_that_are_not_shown_are_counted() -> None:
    dispatcher = Dispatcher()
    one = feed(dispatcher, per_s=10)
    one.add([replace(GOOD, delivery_id=f"dlv_{n}") for n in range(100)])
    one.add([replace(DEAD, delivery_id=f"dlv_d{n}") for n in range(10 * FAILURES_PER_SUCCESS + 7)])
    one.flush()
    names = Counter(task.name for task in dispatcher.cluster.tasks.values())
    assert names == {"delivery.deliver orders.created": 10 + 10 * FAILURES_PER_SUCCESS, NOT_SHOWN: 1}
    (rest,) = [task for task in dispatcher.cluster.tasks.values() if task.name == NOT_SHOWN]
    assert rest.result == "90 more succeeded, 7 more failed in this second"


def test_the_limit_applies_to_each_second() -> None:
    dispatcher = Dispatcher()
    one = feed(dispatcher, per_s=1)
    for number in range(3):
        one.add([replace(GOOD, delivery_id=f"dlv_{number}")])
        one.flush()
    assert len(dispatcher.cluster.tasks) == 3


def test_nothing_is_collected_while_task_events_are_off() -> None:
    dispatcher = Dispatcher("worker")
    one = feed(dispatcher)
    one.add([GOOD])
    dispatcher.groups.add("task")  # as Flower's remote control does
    one.flush()
    assert dispatcher.messages == []
    one.add([GOOD])
    one.flush()
    assert len(dispatcher.messages) == 1


def test_after_a_lost_connection_the_new_dispatcher_is_used() -> None:
    old, new = Dispatcher(), Dispatcher()
    one = feed(old)
    one.follow(new)
    one.add([GOOD])
    one.flush()
    assert (len(old.messages), len(new.messages)) == (0, 1)


def test_an_error_of_ours_is_a_failed_task() -> None:
    dispatcher = Dispatcher()
    one = feed(dispatcher)
    one.task_failed("dlv_9:1", "KeyError('x')")
    one.flush()
    assert dispatcher.cluster.tasks["dlv_9:1"].state == "FAILURE"


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_names_are_given_up_when_postgresql_has_vanished(postgres_wire: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 60)
    partner, names = create_partner("Awesome Reviews"), Names()

    def work() -> list[Mapping[str, str]]:
        try:
            names.of(["ptr_other"])
            assert isinstance(connection.connection, BoundedConnection)
            connection.connection.longest_wait_s = 0.5
            postgres_wire.strand()
            return [dict(names.of([partner.pk])) for _ in range(2)]
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(work).result(30)[-1] == {partner.pk: "Awesome Reviews"}


@pytest.mark.servers
@pytest.mark.django_db
def test_names_of_partners_are_looked_up_once(django_assert_num_queries: Any) -> None:
    partner = create_partner("Awesome Reviews")
    names = Names()
    with django_assert_num_queries(1):
        assert names.of([partner.id])[partner.id] == "Awesome Reviews"
        assert names.of([partner.id])[partner.id] == "Awesome Reviews"
