"""A worker's intake with a real server and an event loop that the test turns step by step."""

import select
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from delivery.broker import FairMessage, FairQueues, bell
from delivery.broker.intake import Intake
from delivery.broker.leases import FEW_WAITING, MOST_WAITING, Leases
from delivery.broker.naming import Naming
from delivery.broker.received import Received
from delivery.broker.scripts import Scripts
from tests.delivery.broker.servers import Broker, lasting_keys, line
from tests.delivery.broker.waiting import until


class Hub:
    """Celery's event loop runs its timers just before it waits for sockets."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, in_s: float, timer: Callable[[], None]) -> Any:
        entry = (time.monotonic() + in_s, timer)
        self.timers.append(entry)
        return SimpleNamespace(
            cancel=lambda: self.timers.__setitem__(slice(None), [t for t in self.timers if t != entry])
        )

    def run_timers(self) -> None:
        for at, timer in list(self.timers):
            if at <= time.monotonic():
                self.timers.remove((at, timer))
                timer()


class Loop:
    """An intake and its event loop, one step at a time, with stand-ins for kombu's poller and channel."""

    def __init__(self, broker: Broker, places: int = 8, max_answer_age_s: float = 5) -> None:
        self.hub = Hub()
        self.places = places
        self.tasks_wait = False
        """Whether messages wait for the beginnings of their tasks."""
        self.got: list[Received] = []
        self.watched: dict[Any, str] = {}
        self.has_stopped = False
        self._broker = broker
        self.channel = SimpleNamespace(
            connection=SimpleNamespace(cycle=self),
            handlers={},
            connection_errors=(redis.RedisError, OSError),
            health_check_interval=25,
            qos=SimpleNamespace(
                prefetch_count=places, can_consume=lambda: self.room > 0, can_consume_max_estimate=lambda: self.room
            ),
            _create_client=lambda asynchronous: SimpleNamespace(connection=None),
        )
        scripts = Scripts(broker.client, Naming())
        scripts.load("exchange")
        self.leases = self.channel.leases = Leases(scripts, max_answer_age_s)
        self.refusals = 0
        self.start()

    def start(self) -> None:
        """Also after a stop."""
        self.has_stopped = False
        self.intake = Intake(self.channel, self.leases, self.take, no_ack=False)

    def take(self, message: Received) -> None:
        self.got.append(message)
        if self.tasks_wait:
            message.waits()

    @property
    def room(self) -> int:
        return self.places - len(self.leases.held)

    @property
    def ids(self) -> list[str]:
        return [message.properties["delivery_tag"] for message in self.got]

    def settle(self) -> None:
        for message in self.got:
            if not message.acknowledged:
                message.ack()

    # The poller's methods that the intake calls

    def watch(self, _channel: Any, client: Any, kind: str) -> None:
        if client.connection is None:
            client.connection = self._broker.client.connection_pool.make_connection()
        if client.connection._sock is None:
            if kind == "EXCHANGE" and self.refusals:
                self.refusals -= 1
                raise redis.ConnectionError("refused")
            client.connection.connect()
        self.watched = {sock: name for sock, name in self.watched.items() if name != kind}
        self.watched[client.connection._sock] = kind

    def watch_socket(self, _channel: Any, sock: Any, kind: str) -> None:
        self.watched[sock] = kind

    def unwatch_socket(self, sock: Any) -> None:
        """Called when the intake stops."""
        del self.watched[sock]
        self.has_stopped = True

    # Steps

    def read(self, kind: str, timeout_s: float = 5) -> None:
        """Waits until the socket of this kind is readable, and lets its handler read it."""
        (sock,) = (sock for sock, name in self.watched.items() if name == kind)
        assert select.select([sock], [], [], timeout_s)[0], f"nothing came for {kind}"
        self.channel.handlers[kind]()

    def turn(self) -> None:
        """One turn, as in Celery's loop."""
        self.intake.advance()
        self.hub.run_timers()
        for sock in select.select([one for one in self.watched if one.fileno() >= 0], [], [], 0.002)[0]:
            self.channel.handlers[self.watched[sock]]()

    def until(self, condition: Callable[[], object], what: str) -> None:
        def is_so() -> object:
            self.turn()
            return condition()

        until(is_so, what)

    def until_request_waits(self) -> None:
        """Until a request waits behind the bell."""
        self.until(lambda: _is_behind_a_bell(self._broker.client), "the request waits behind the bell")


def _is_behind_a_bell(client: redis.Redis) -> bool:
    rows: list[dict[str, str]] = client.client_list()
    return any(row["cmd"] == "brpop" and int(row["qbuf"]) > 0 for row in rows)


@pytest.fixture
def loop(broker: Broker) -> Iterator[Loop]:
    made = Loop(broker)
    yield made
    if not made.has_stopped:
        made.intake.stop()


def publish(queues: FairQueues, *ids: str) -> None:
    queues.publish([FairMessage("partner.a", id_, "note") for id_ in ids])


pytestmark = pytest.mark.servers


def test_a_request_behind_the_bell_is_answered_when_the_bell_rings(loop: Loop, queues: FairQueues) -> None:
    loop.until_request_waits()
    publish(queues, "m")
    until(lambda: queues.leased_by("partner.a", "m"), "the server answers by itself")
    loop.read("BELL")
    assert loop.ids == ["m"]


def test_a_worker_waits_again_while_it_holds_messages(loop: Loop, queues: FairQueues) -> None:
    loop.until_request_waits()
    for count, id_ in enumerate("klm", 1):
        publish(queues, id_)
        loop.read("BELL")
        assert len(loop.ids) == count
        loop.until_request_waits()


def test_a_worker_fetches_no_more_until_few_messages_wait_for_their_tasks(broker: Broker, queues: FairQueues) -> None:
    """Otherwise a light queue's message would begin after all that heavy ones have put into the worker before."""
    loop = Loop(broker, places=1000)
    loop.tasks_wait = True
    publish(queues, *(str(number) for number in range(3 * MOST_WAITING)))
    loop.until(lambda: loop.got, "messages come")
    begun = MOST_WAITING - FEW_WAITING
    for message in loop.got[: begun - 1]:
        message.begins()
    for _ in range(20):
        loop.turn()
    assert len(loop.got) == MOST_WAITING
    loop.got[begun - 1].begins()
    loop.until(lambda: len(loop.got) == MOST_WAITING + begun, "as many come as began")
    loop.settle()
    loop.until(lambda: len(loop.got) > MOST_WAITING + begun, "a task that ended does not wait")
    loop.intake.stop()


def waiting(broker: Broker) -> set[str]:
    """The workers that the server knows to be waiting for messages."""
    return set(line(broker.client, "fair:waiting:partner.*"))


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not look now and then whether a ring was lost."""
    monkeypatch.setattr(bell, "BELL_WAIT_S", 60)


@pytest.mark.usefixtures("_patience")
def test_the_server_rings_again_when_tasks_have_begun(broker: Broker, queues: FairQueues) -> None:
    """The last request, which reported one message, found no room: the others were being loaded."""
    loop = Loop(broker, places=1000, max_answer_age_s=200)
    loop.tasks_wait = True
    loop.until(lambda: waiting(broker), "it waits")
    publish(queues, *(str(number) for number in range(40)))
    loop.until(lambda: len(loop.got) == 40, "all come")
    loop.got[0].ack()
    loop.until(lambda: not waiting(broker), "it is reported, in a request that finds no room")
    for message in loop.got[1:]:
        message.begins()
    loop.until(lambda: waiting(broker), "it waits again")
    loop.intake.stop()


@pytest.mark.usefixtures("_patience")
def test_a_worker_that_loads_for_long_answers_its_bell(broker: Broker, queues: FairQueues) -> None:
    """It has no room, but the server knows of some. So it wakes the next worker."""
    busy, idle = (Loop(broker, places, max_answer_age_s=200) for places in (1000, 40))
    busy.tasks_wait = True
    busy.until(lambda: waiting(broker), "it waits")
    publish(queues, *(str(number) for number in range(20)))
    busy.until(lambda: len(busy.got) == 20, "they come")
    idle.until(lambda: waiting(broker) == {busy.leases.worker, idle.leases.worker}, "both wait")
    publish(queues, "late")

    def has_come() -> bool:
        busy.turn()
        return idle.ids == ["late"]

    idle.until(has_come, "the other worker gets it")
    for loop in (busy, idle):
        loop.intake.stop()


def test_settlements_are_reported_while_a_request_waits_behind_the_bell(
    loop: Loop, queues: FairQueues, client: redis.Redis
) -> None:
    loop.until_request_waits()
    publish(queues, "m")
    loop.read("BELL")
    loop.until_request_waits()
    loop.settle()
    loop.until(lambda: not queues.size("partner.a"), "it is reported")
    assert _is_behind_a_bell(client)


def test_a_queue_at_its_cap_is_served_on_after_a_settlement(loop: Loop, queues: FairQueues) -> None:
    queues.configure("partner.a", max_in_flight=1)
    loop.until_request_waits()
    publish(queues, "k", "l", "m")
    for wanted in (["k"], ["k", "l"], ["k", "l", "m"]):
        loop.until(lambda wanted=wanted: loop.ids == wanted, f"{wanted} came")  # type: ignore[misc]
        loop.settle()


def test_a_worker_with_little_open_room_sends_a_request_when_a_place_is_free(loop: Loop, queues: FairQueues) -> None:
    """An earlier request, with less room, would not fetch the messages, and no script would ring for them."""
    publish(queues, *(f"a{n}" for n in range(20)))
    loop.until(lambda: len(loop.ids) == 6, "a quarter of the places stays free")
    started = time.monotonic()
    while len(loop.ids) < 20:
        loop.settle()
        loop.turn()
    assert time.monotonic() - started < 1, "nothing waited for the bell's second"


def test_a_worker_rings_its_own_bell_when_a_message_is_due(loop: Loop, queues: FairQueues) -> None:
    loop.until_request_waits()
    queues.publish([FairMessage("partner.a", "later", "note", eta=time.time() + 0.2)])
    started = time.monotonic()
    loop.until(lambda: loop.ids == ["later"], "the delayed message came")
    assert 0.15 < time.monotonic() - started < 0.9


def test_messages_of_an_answer_that_is_not_read_before_the_end_go_back(loop: Loop, queues: FairQueues) -> None:
    loop.until_request_waits()
    publish(queues, "m")
    loop.intake.stop()
    loop.leases.flush()
    assert loop.ids == []
    assert queues.stats(["partner.a"])["partner.a"].ready == 1


def test_stopping_does_not_wait_for_the_bell(loop: Loop) -> None:
    loop.until_request_waits()
    started = time.monotonic()
    loop.intake.stop()
    assert time.monotonic() - started < 0.3


def test_messages_of_an_answer_lost_with_its_connection_come_again(loop: Loop, queues: FairQueues) -> None:
    """The server leased the message for an answer that the worker never read."""
    loop.until_request_waits()
    publish(queues, "m")
    until(lambda: queues.leased_by("partner.a", "m"), "the server answers by itself")
    loop.intake._bell.connection.disconnect()
    loop.until(lambda: loop.ids == ["m"], "it came")
    loop.settle()
    loop.until(lambda: not queues.size("partner.a"), "and was settled once")


@pytest.mark.parametrize("is_new", [False, True])
def test_settlements_are_reported_later_when_a_connection_is_refused(
    loop: Loop, queues: FairQueues, is_new: bool
) -> None:
    """Otherwise the next connection would not list it as held, and it would come again."""
    loop.until_request_waits()
    publish(queues, "m")
    loop.read("BELL")
    loop.until_request_waits()
    if is_new:
        loop.intake.stop()
        loop.settle()
        loop.start()
    else:
        loop.intake._connection.disconnect()
        loop.settle()
    loop.refusals = 1
    with pytest.raises(redis.ConnectionError):
        loop.until(lambda: False, "it is refused")
    loop.intake.stop()
    loop.start()
    loop.until(lambda: not queues.size("partner.a"), "it is reported")
    loop.until_request_waits()
    assert loop.ids == ["m"]


def test_a_new_connection_for_reports_lists_what_the_worker_holds(loop: Loop, queues: FairQueues) -> None:
    """The server may be a replica that replaced the last one and did not get the last acknowledgement."""
    loop.until_request_waits()
    publish(queues, "m")
    loop.read("BELL")
    leases, counts = queues.naming.key("leases", loop.leases.worker), queues.naming.key("counts")
    held: dict[Any, Any] = queues.client.hgetall(leases)
    loop.settle()
    loop.until(lambda: not queues.size("partner.a"), "it is reported")
    publish(queues, "k")
    loop.until(lambda: loop.ids == ["m", "k"], "another came")
    queues.client.hset(leases, mapping=held)
    queues.client.hset(counts, "partner.a", 1)
    queues.client.sadd(queues.naming.key("known", "partner.a"), "m")
    loop.until_request_waits()
    loop.intake._connection.disconnect()
    loop.settle()
    loop.until(lambda: loop.ids == ["m", "k", "m"], "what the server held for it comes again")


def test_an_alarm_for_a_report_that_was_flushed_meanwhile_is_cleared(loop: Loop, queues: FairQueues) -> None:
    loop.until_request_waits()
    publish(queues, "m")
    loop.read("BELL")
    loop.until_request_waits()
    loop.settle()
    loop.intake._set_alarms()
    loop.leases.flush()
    loop.until(lambda: (due := loop.intake.due_in_s()) is None or due > 0.1, "it may sleep")


def test_a_stopped_worker_leaves_no_bell(loop: Loop, client: redis.Redis) -> None:
    loop.until_request_waits()
    loop.intake.stop()
    assert not [key for key in lasting_keys(client) if "bell" in key]


def test_a_delayed_message_ends_the_wait_for_events_when_it_is_due(loop: Loop) -> None:
    loop.intake.leases.request_arguments(8, 8)
    loop.intake._take_answer([b"0.001", 0, 0])
    sockets = list(loop.watched)
    assert select.select(sockets, [], [], 0)[0] == []

    def has_woken() -> bool:
        loop.hub.run_timers()
        return select.select(sockets, [], [], 0)[0] == sockets

    until(has_woken, "it woke")
