"""A model of bridge, broker, worker and recorder, which crash between any two of their steps, on real servers.

It runs the real code of the bridge's batch, ingest, the broker's scripts, the attempt, the recorder and reconciliation.
The source, the endpoint and the times of the crashes are the model's. In the end each event has one delivery that
ended, its attempts are numbered without a gap, each was POSTed, and every further POST was in flight at a crash.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from delivery import publish
from delivery.breaker import Breaker
from delivery.bridge import Bridge
from delivery.broker import FairQueues, faults
from delivery.catalogue import Catalogue
from delivery.deliver import Tools, deliver
from delivery.due import Queued
from delivery.endpoints import EndpointCache
from delivery.errors import DeliveryDead, TryLater
from delivery.jobs import JobLoader
from delivery.models import Delivery
from delivery.outcomes import Outcome, answered
from delivery.quarantine import Quarantine
from delivery.reconcile import reconcile
from delivery.recorder import AttemptRecord, record
from delivery.routes import SubscriptionRouter
from delivery.sending import Request
from delivery.sources import SourceMessage
from delivery.verbs import retry_delivery
from delivery.verify import verify_hour
from partners.changes import Change
from partners.models import Subscription
from partners.services import create_partner, create_subscription
from tests.delivery.broker.manual_worker import Held, ManualWorker
from tests.delivery.test_deliver import NothingShared

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]

ATTEMPTS = 3
NOT_FOR_LONG_S = 0.001
CRASHES_OF_BRIDGE = ["", "before the commit", "before publishing", "after publishing", "after acknowledging"]
CRASHES_OF_WORKER = ["", "before sending", "after sending", "after recording", "after queueing the retry"]


class CrashError(Exception):
    """The process ends here."""


@dataclass
class Source:
    """Hands out messages again until they are acknowledged."""

    waiting: dict[str, SourceMessage] = field(default_factory=dict)
    crash: str = ""
    bridge: Bridge | None = None
    """Is stopped when it fetches a second time, because a step is one batch."""

    def add(self, number: int) -> None:
        position = f"EVENTS_{number}"
        headers = {"nats-msg-id": f"event-{number}"}
        now = datetime.now(UTC)
        self.waiting[position] = SourceMessage("nats", "events.orders.created", headers, b"{}", position, now, number)

    async def connect(self) -> None:
        pass

    async def fetch(self, limit: int) -> list[SourceMessage]:
        assert self.bridge is not None
        self.bridge.stop()
        return list(self.waiting.values())[:limit]

    async def acknowledge(self, messages: Sequence[SourceMessage]) -> None:
        if self.crash == "after publishing":
            raise CrashError
        for message in messages:
            self.waiting.pop(message.position)
        if self.crash == "after acknowledging":
            raise CrashError

    async def terminate(self, messages: Sequence[SourceMessage]) -> None:
        assert not messages

    async def close(self) -> None:
        pass


class System(RuleBasedStateMachine):
    """Each rule is one step of one part, with or without a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.queues = publish.queues()
        empty(self.queues)
        partner = create_partner("Awesome Reviews")
        made = create_subscription(partner, "https://hooks.example.com/in", ["*"])
        Subscription.objects.filter(pk=made.pk).update(retry_schedule_s=[NOT_FOR_LONG_S] * (ATTEMPTS - 1))
        self.router = SubscriptionRouter()
        self.router.take_over([Change("everything", "")])
        self.source, self.events = Source(), 0
        self.workers = [ManualWorker(self.queues.client, f"worker-{number}") for number in range(2)]
        self.held: dict[str, list[Held]] = {worker.name: [] for worker in self.workers}
        self.load = JobLoader(EndpointCache())
        self.posts: Counter[str] = Counter()
        self.cut_off: Counter[str] = Counter()
        self.queues.mark()

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.events += 1
            self.source.add(self.events)

    @precondition(lambda self: self.source.waiting)
    @rule(crash=st.sampled_from(CRASHES_OF_BRIDGE))
    def take_a_batch(self, crash: str) -> None:
        def send(due: Sequence[Queued]) -> int:
            if crash == "before publishing":
                raise CrashError
            return publish.publish(due)

        router = FailingRouter(self.router) if crash == "before the commit" else self.router
        bridge = Bridge(self.source, router, Catalogue(), 10_000, batch_size=2, send=send)
        self.source.crash, self.source.bridge = crash, bridge
        with suppress(CrashError):  # with a batch of duplicates, not every crash happens
            asyncio.run(bridge.run())

    @rule(which=st.integers(0, 1), room=st.integers(1, 3))
    def fetch(self, which: int, room: int) -> None:
        worker = self.workers[which]
        self.held[worker.name] += worker.exchange(room).messages

    @precondition(lambda self: any(self.held.values()))
    @rule(crash=st.sampled_from(CRASHES_OF_WORKER), status=st.sampled_from([200, 500, 503]))
    def work(self, crash: str, status: int) -> None:
        worker = next(worker for worker in self.workers if self.held[worker.name])
        message = self.held[worker.name].pop(0)
        try:
            self.attempt(message, crash, answered(status, {}, b"", 1.0))
        except CrashError:
            self.die(worker)
        else:
            worker.settle("ack", [message])

    def attempt(self, message: Held, crash: str, outcome: Outcome) -> None:
        delivery_id, number = message.id.split(":")[:2]

        def send(_: Request) -> Outcome:
            if crash == "before sending":
                raise CrashError
            self.posts[delivery_id] += 1
            if crash == "after sending":
                self.cut_off[delivery_id] += 1
                raise CrashError
            return outcome

        def write(made: AttemptRecord) -> None:
            if record([made]) == [False]:
                self.cut_off[delivery_id] += 1  # two workers made it: a lease was returned while its holder was working
            if crash == "after recording":
                raise CrashError

        try:
            deliver(delivery_id, int(number), tools(lambda id_: self.load([id_])[0], send, write))
        except TryLater as later:
            publish.publish([later.due])
            if crash == "after queueing the retry":
                raise CrashError from None
        except DeliveryDead:
            pass

    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        self.die(self.workers[which])

    def die(self, worker: ManualWorker) -> None:
        """Kills a worker. Its leases are returned when another one notices."""
        self.held[worker.name] = []
        workers = self.queues.naming.key("workers")
        self.queues.client.zadd(workers, {worker.name: 0}, xx=True)
        ManualWorker(self.queues.client, "survivor").beat(dead_after_s=10, gap_s=1e12)

    @rule()
    def lose_the_broker(self) -> None:
        """Wipes the broker. Workers go on with messages whose leases are lost."""
        self.queues.client.flushdb()

    @rule()
    def reconcile(self) -> None:
        reconcile(self.queues, grace_s=0)

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def try_again_by_hand(self, data: st.DataObject) -> None:
        ended = list(Delivery.objects.exclude(status="pending").order_by("pk"))
        if ended:
            retry_delivery(data.draw(st.sampled_from(ended)))

    def teardown(self) -> None:
        """Runs everything to its end without crashes, and checks the result."""
        for worker in self.workers:
            self.die(worker)
        while self.source.waiting:
            self.take_a_batch("")
        for _ in range(1000):
            reconcile(self.queues, grace_s=0)
            self.fetch(0, 3)
            while any(self.held.values()):
                self.work("", 200)
            if not Delivery.objects.filter(status="pending").exists():
                break
        self.check()
        empty(self.queues)

    def check(self) -> None:
        rows = list(Delivery.objects.values_list("pk", "event_id", "status", "attempt_count"))
        assert sorted(row[1] for row in rows) == sorted(f"event-{number + 1}" for number in range(self.events))
        assert {row[2] for row in rows} <= {"succeeded", "dead"}
        for delivery_id, _, _, attempts in rows:
            assert self.posts[delivery_id] == attempts + self.cut_off[delivery_id]
        now = datetime.now(UTC)
        assert not [str(one) for piece in (now - timedelta(hours=1), now) for one in verify_hour(piece)]
        assert not list(faults(self.queues))


class FailingRouter(SubscriptionRouter):
    """Crashes in the middle of the transaction."""

    def __init__(self, _: SubscriptionRouter) -> None:
        super().__init__()

    def route(self, event: Any) -> Any:
        raise CrashError


def tools(
    load: Callable[[str], Any], send: Callable[[Request], Outcome], write: Callable[[AttemptRecord], None]
) -> Tools:
    return Tools(
        load=load,
        breaker=Breaker(NothingShared()),
        quarantine=Quarantine(),
        send=send,
        record=write,
        user_agent="Recart-Hooks/test",
        connect_timeout_s=5,
        retry_after_cap_s=1,
        worker="model",
    )


def empty(queues: FairQueues) -> None:
    queues.client.flushdb()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE partners_partner, delivery_event, delivery_delivery, delivery_attempt CASCADE")


@pytest.fixture(autouse=True)
def _servers(valkey: str) -> Iterator[None]:
    yield
    publish.queues().client.flushdb()


def test_nothing_is_lost_whatever_crashes_between_any_two_steps() -> None:
    run_state_machine_as_test(
        System,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
