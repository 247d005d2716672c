"""One attempt from load to record, with fakes for the network, the database and the clock."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from delivery.breaker import Breaker, Opened
from delivery.deliver import Tools, deliver, says_down
from delivery.endpoints import Endpoint, Secret
from delivery.errors import DeliveryDead, Postponed, TryLater
from delivery.jobs import Job
from delivery.outcomes import ErrorClass, Outcome, answered, failed
from delivery.quarantine import Quarantine
from delivery.recorder import AttemptRecord
from delivery.sending import Request
from delivery.signing import decode_secret
from delivery.waits import offload
from partners.transform import compile_transformation

NOW = datetime.now(UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OK = answered(204, {}, b"", 12.5)

ENDPOINT = Endpoint(
    subscription_id="sub_1",
    partner_id="ptr_1",
    url="https://hooks.reviews.com/in",
    headers={"x-shop": "7"},
    secrets=(Secret(decode_secret(SECRET), None), Secret(decode_secret(OLD_SECRET), NOW + timedelta(hours=1))),
    transform=None,
    timeout_s=15,
    schedule_s=(5.0, 60.0),
    stopped="",
)
JOB = Job("dlv_1", "pending", 0, NOW, "evt_1", "orders.created", NOW, '{"price": 1.10}', "", ENDPOINT)
NUMBER = compile_transformation('{"map": {"x": {"$number": "$.data.price"}}}')
NOT_TO_TRANSFORM = replace(JOB, data='{"price": "much"}', endpoint=replace(ENDPOINT, transform=NUMBER))


class NothingShared:
    def __init__(self) -> None:
        self.opened: dict[str, Opened] = {}
        self.gives_probe = False
        self.left: list[str] = []
        self.gate, self.read_gate = threading.Event(), threading.Event()
        self.gate.set()
        self.read_gate.set()

    def read(self) -> Mapping[str, Opened]:
        offload(self.read_gate.wait, 10)
        return self.opened

    def open(self, subscription_id: str, opened: Opened) -> None:
        self.opened[subscription_id] = opened

    def close(self, subscription_id: str) -> None:
        self.opened.pop(subscription_id, None)

    def take_probe(self, subscription_id: str, for_s: float) -> bool:
        offload(self.gate.wait, 10)
        return self.gives_probe

    def leave_probe(self, subscription_id: str) -> None:
        self.left.append(subscription_id)


class World:
    """Fakes of everything that an attempt uses."""

    def __init__(self, job: Job | None = JOB, outcome: Outcome = OK) -> None:
        self.sent: list[Request] = []
        self.recorded: list[AttemptRecord] = []
        self.shared = NothingShared()
        self.quarantine = Quarantine()
        self.job = job
        self.outcome = outcome
        self.now = datetime.now(UTC)  # the verifying library compares it with the clock

    def send(self, request: Request) -> Outcome:
        self.sent.append(request)
        return self.outcome

    def deliver(self, attempt: int = 1) -> None:
        tools = Tools(
            load=lambda _: self.job,
            breaker=Breaker(self.shared),
            quarantine=self.quarantine,
            send=self.send,
            record=self.recorded.append,
            user_agent="Recart-Hooks/test",
            connect_timeout_s=5,
            retry_after_cap_s=3600,
            worker="here:1",
            now=lambda: self.now,
            random=lambda: 0.5,
        )
        deliver("dlv_1", attempt, tools)


def test_a_success_is_sent_signed_and_recorded() -> None:
    world = World()
    world.deliver()
    (request,), (made,) = world.sent, world.recorded
    assert request.body.endswith(b'"data":{"price": 1.10}}')
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(request.body, dict(request.headers))
    assert request.headers["webhook-id"] == "evt_1"
    assert request.headers["x-shop"] == "7"
    assert made.url == request.url
    assert (made.number, made.step.status, made.finished_at, made.next_attempt_at) == (1, "succeeded", world.now, None)


def test_a_failure_is_tried_again_at_the_time_of_the_schedule() -> None:
    world = World(outcome=answered(500, {}, b"", 1))
    with pytest.raises(TryLater) as later:
        world.deliver()
    then = world.now + timedelta(seconds=5)
    assert world.recorded[0].next_attempt_at == then
    assert (later.value.due.attempt, later.value.due.due_at) == (2, then.timestamp())


def test_the_delay_of_an_event_is_that_of_its_first_request() -> None:
    first, second, unsent = World(), World(replace(JOB, attempt_count=1)), World(NOT_TO_TRANSFORM)
    for world in (first, second, unsent):
        world.now = JOB.occurred_at + timedelta(seconds=3)
    first.deliver()
    second.deliver(attempt=2)
    with pytest.raises(DeliveryDead):
        unsent.deliver()
    assert [world.recorded[0].event_delay_s for world in (first, second, unsent)] == [3.0, None, None]


def test_nothing_is_sent_to_a_partner_in_quarantine() -> None:
    world = World()
    world.quarantine.add("ptr_1")
    with pytest.raises(Postponed) as later:
        world.deliver()
    assert later.value.of_partner
    assert later.value.until > world.now.timestamp()
    assert (world.sent, world.recorded) == ([], [])


def test_the_last_failure_is_the_end() -> None:
    world = World(replace(JOB, attempt_count=2), answered(500, {}, b"", 1))
    with pytest.raises(DeliveryDead, match="status 500"):
        world.deliver(attempt=3)
    assert (world.recorded[0].step.status, world.recorded[0].finished_at) == ("dead", world.now)


def test_a_410_ends_the_delivery_and_disables_the_subscription() -> None:
    world = World(outcome=answered(410, {}, b"", 1))
    with pytest.raises(DeliveryDead):
        world.deliver()
    assert world.recorded[0].step.disable == "gone"


@pytest.mark.parametrize("job", [None, replace(JOB, status="succeeded"), replace(JOB, status="dead")])
def test_a_delivery_that_is_not_pending_is_left_alone(job: Job | None) -> None:
    world = World(job)
    world.deliver()
    assert (world.sent, world.recorded) == ([], [])


def test_a_stale_message_queues_the_attempt_that_is_next() -> None:
    world = World(replace(JOB, attempt_count=1))
    with pytest.raises(TryLater) as later:
        world.deliver(attempt=1)
    assert (later.value.due.attempt, later.value.due.due_at) == (2, NOW.timestamp())
    assert world.sent == []


def test_a_stopped_subscription_ends_the_delivery_without_sending() -> None:
    world = World(replace(JOB, endpoint=replace(ENDPOINT, stopped="the subscription was deleted")))
    with pytest.raises(DeliveryDead, match="deleted"):
        world.deliver()
    assert world.sent == []
    assert world.recorded[0].outcome.error is ErrorClass.DISABLED


def test_an_event_that_cannot_be_transformed_is_dead_at_once() -> None:
    world = World(NOT_TO_TRANSFORM)
    with pytest.raises(DeliveryDead):
        world.deliver()
    outcome = world.recorded[0].outcome
    assert outcome.error is ErrorClass.TRANSFORM
    assert outcome.detail.startswith("not_a_number at /map")
    assert world.sent == []


@pytest.mark.parametrize("unreadable", ["", "a signing secret cannot be read"])
def test_without_a_secret_nothing_is_sent_and_the_attempt_is_tried_again(
    unreadable: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(replace(JOB, endpoint=replace(ENDPOINT, secrets=(), unreadable=unreadable)))
    with pytest.raises(TryLater):
        world.deliver()
    assert world.sent == []
    outcome = world.recorded[0].outcome
    assert (outcome.error, outcome.detail) == (
        ErrorClass.INTERNAL,
        unreadable or "there is no secret to sign with",
    )
    assert not [record for record in caplog.records if record.exc_info]


def test_a_transformation_makes_the_body() -> None:
    transform = compile_transformation('{"map": {"total": "$.data.price"}}')
    world = World(replace(JOB, endpoint=replace(ENDPOINT, transform=transform)))
    world.deliver()
    assert world.sent[0].body == b'{"total":1.10}'
    Webhook(SECRET).verify(world.sent[0].body, dict(world.sent[0].headers))


def test_an_open_breaker_postpones_without_an_attempt() -> None:
    world = World()
    until = world.now.timestamp() + 100
    world.shared.opened["sub_1"] = Opened(until, 10)
    with pytest.raises(Postponed) as postponed:
        world.deliver()
    assert postponed.value.until >= until
    assert (world.sent, world.recorded) == ([], [])


@pytest.mark.parametrize(
    ("outcome", "down"),
    [
        (OK, False),
        (answered(400, {}, b"", 1), False),
        (answered(404, {}, b"", 1), False),
        (answered(429, {}, b"", 1), True),
        (answered(503, {}, b"", 1), True),
        (failed(ErrorClass.REFUSED, ""), True),
        (failed(ErrorClass.TIMEOUT, ""), True),
        (failed(ErrorClass.TRANSFORM, ""), False),
        (failed(ErrorClass.DISABLED, ""), False),
    ],
)
def test_only_failures_that_say_down_count_for_the_breaker(outcome: Outcome, down: bool) -> None:
    assert says_down(outcome) is down


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        (NOT_TO_TRANSFORM, OK),
        (replace(JOB, endpoint=replace(ENDPOINT, secrets=())), OK),
        (replace(JOB, is_expunged=True), OK),
        (JOB, failed(ErrorClass.UNSENDABLE, "")),
    ],
    ids=["transformation", "internal", "expunged", "unsendable"],
)
def test_a_probe_that_was_not_sent_closes_no_breaker(job: Job, outcome: Outcome) -> None:
    world = half_open(job, outcome)
    with pytest.raises((DeliveryDead, TryLater)):
        world.deliver()
    assert world.shared.opened
    assert world.shared.left == ["sub_1"]


def test_a_stopped_subscription_needs_no_breaker() -> None:
    world = half_open(replace(JOB, endpoint=replace(ENDPOINT, stopped="it was deleted")), OK)
    with pytest.raises(DeliveryDead):
        world.deliver()
    assert not world.shared.opened


def half_open(job: Job, outcome: Outcome) -> World:
    """A world in which the next attempt is the probe."""
    world = World(job, outcome)
    world.shared.opened["sub_1"] = Opened(until=0, period_s=5)
    world.shared.gives_probe = True
    return world


def test_the_values_of_a_subscriptions_own_headers_are_sent_and_not_recorded() -> None:
    world = World()
    world.deliver()
    assert world.sent[0].headers["x-shop"] == "7"
    assert "x-shop: (hidden)" in world.recorded[0].request_headers
    assert "webhook-id: evt_1" in world.recorded[0].request_headers


def test_the_log_line_of_an_attempt_has_the_webhook_id_and_the_trace_id(caplog: pytest.LogCaptureFixture) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with caplog.at_level("INFO", "delivery.attempt"):
        World(replace(JOB, traceparent=f"00-{trace}-00f067aa0ba902b7-01")).deliver()
        World().deliver()
    traced, plain = (vars(record) for record in caplog.records)
    assert (traced["webhook_id"], traced["delivery_id"], traced["trace_id"]) == ("evt_1", "dlv_1", trace)
    assert plain["webhook_id"] == "evt_1"
    assert "trace_id" not in plain
