"""Trying an endpoint: a signed request, whose outcome is the answer."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from threading import Thread
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from delivery.endpoints import load_endpoints
from delivery.models import Delivery, Event
from delivery.outcomes import Outcome, answered
from delivery.proof import verify_now
from delivery.sending import Request
from delivery.trying import LONGEST_S, send_now, shared_places, shared_sender
from partners import services
from partners.models import AuditEntry, EventType, Subscription
from partners.places import Busy, Places
from tests.api_calls import caller, is_problem, subscription_of
from tests.exchange import Exchange
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

NOT_SELECTED = "The subscription's filter does not select this event"
ASKS_FOR_TOTLA = "the filter asks for totla, which this event does not have there; did you mean total?"


@pytest.fixture
def receiver(local_endpoints: None) -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def test_a_test_event_is_sent_now_signed_and_the_outcome_is_the_answer(receiver: Receiver) -> None:
    EventType.objects.create(name="orders.created", sample='{"total": 1.10}')
    one = caller()
    subscription = subscription_of(one.partner, url=receiver.url("/ok"), headers={"X-Tenant": "blue"})
    (secret,) = services.reveal_secrets(subscription)

    answer = one.post(f"/subscriptions/{subscription.pk}/test")

    assert answer.status_code == 200, answer.content
    tried = answer.json()
    (got,) = receiver.requests
    Webhook(secret).verify(got.body, got.headers)
    assert got.headers["x-tenant"] == "blue"
    assert got.headers["webhook-id"] == tried["event_id"]
    assert got.body.decode() == tried["request_body"]
    assert b'"data":{"total": 1.10}' in got.body
    assert tried["event_type"] == "orders.created"
    assert tried["request_headers"]["X-Tenant"] == "(hidden)"
    assert (tried["outcome"]["succeeded"], tried["outcome"]["status_code"]) == (True, 200)
    assert not Event.objects.exists()


def test_a_test_of_a_failing_endpoint_says_how_it_failed(receiver: Receiver) -> None:
    one = caller()
    subscription = subscription_of(one.partner, url=receiver.url("/status/503"), event_types=["*"])

    tried = one.post(f"/subscriptions/{subscription.pk}/test", {"event_type": "carts.abandoned"}).json()

    outcome = tried["outcome"]
    assert (outcome["succeeded"], outcome["status_code"], outcome["error"]) == (False, 503, "http_status")
    assert orjson.loads(tried["request_body"])["type"] == "carts.abandoned"
    assert Delivery.objects.count() == 0


def test_the_endpoint_for_operational_events_is_tested_with_one_of_them(receiver: Receiver) -> None:
    EventType.objects.create(name="orders.created", sample="{}")
    one = caller()
    services.update_partner(one.partner, {"operational_url": receiver.url("/ok")})
    subscription = services.operational_subscription(one.partner)
    assert subscription

    tried = one.post(f"/subscriptions/{subscription.pk}/test").json()

    assert (tried["event_type"], tried["hints"]) == ("subscription.failing", [])


@pytest.mark.parametrize(
    ("asked", "tested", "hints"),
    [
        (["orders.created"], "orders.created", []),
        (["orders.*", "carts.seen"], "orders.created", []),
        (["*"], "orders.creatd", ["No event type is known that orders.creatd matches. Did you mean orders.created?"]),
        (
            ["ordres.*"],
            "orders.created",
            [
                "No event type is known that ordres.* matches. Did you mean orders.*?",
                "The subscription's event types do not ask for orders.created.",
            ],
        ),
        (["x.y"], None, ["No event type is known that x.y matches."]),
    ],
)
def test_a_test_says_what_looks_like_a_typing_error(
    receiver: Receiver, asked: list[str], tested: str | None, hints: list[str]
) -> None:
    EventType.objects.create(name="orders.created")
    EventType.objects.create(name="carts.seen", is_catalogued=False)
    one = caller()
    path = f"/subscriptions/{subscription_of(one.partner, url=receiver.url('/ok'), event_types=asked).pk}/test"

    assert one.post(path, {"event_type": tested} if tested else {}).json()["hints"] == hints


@pytest.mark.parametrize(
    ("filter_", "hints"),
    [
        ("$.data[?(@.total > 1)]", []),
        ("$.data[?(@.total > 5)]", [f"{NOT_SELECTED}."]),
        ("$.data[?(@.totla > 1)]", [f"{NOT_SELECTED} ({ASKS_FOR_TOTLA})."]),
    ],
)
def test_a_test_is_sent_against_the_filter_and_says_so(receiver: Receiver, filter_: str, hints: list[str]) -> None:
    EventType.objects.create(name="orders.created", sample='{"total": 1.10}')
    one = caller()
    subscription = subscription_of(one.partner, url=receiver.url("/ok"), filter=filter_)

    tried = one.post(f"/subscriptions/{subscription.pk}/test").json()

    assert (tried["outcome"]["succeeded"], tried["hints"]) == (True, hints)


def test_a_disabled_subscription_can_be_tested(receiver: Receiver) -> None:
    one = caller()
    body = {"url": receiver.url("/ok"), "event_types": ["*"], "transformation": {"map": "$.type"}, "is_enabled": False}
    made = one.post("/subscriptions", body).json()

    tried = one.post(f"/subscriptions/{made['id']}/test", {"event_type": "orders.created"}).json()

    assert (tried["request_body"], tried["outcome"]["succeeded"]) == ('"orders.created"', True)


def test_an_address_that_is_not_allowed_is_not_reached_by_a_test(receiver: Receiver, settings: Any) -> None:
    one = caller()
    subscription = subscription_of(one.partner, url=receiver.url("/ok"))
    settings.ENDPOINT_ALLOWED_NETWORKS = ()
    shared_sender.cache_clear()

    outcome = one.post(f"/subscriptions/{subscription.pk}/test").json()["outcome"]

    assert (outcome["succeeded"], outcome["error"]) == (False, "blocked_address")
    assert receiver.connections == 0


def test_a_test_that_cannot_be_transformed_sends_nothing(receiver: Receiver) -> None:
    one = caller()
    finds_nothing = '{"map": "$.data.missing"}'
    subscription = subscription_of(one.partner, url=receiver.url("/ok"), transformation=finds_nothing)

    tried = one.post(f"/subscriptions/{subscription.pk}/test").json()

    assert (tried["request_body"], tried["outcome"]["error"]) == (None, "transformation")
    assert receiver.requests == []


@pytest.mark.parametrize("verb", ["test", "verify"])
def test_a_test_that_cannot_be_signed_says_why(verb: str) -> None:
    one = caller()
    subscription = subscription_of(one.partner)
    subscription.secrets.update(token="gAAAAA-not-ours")

    tried = one.post(f"/subscriptions/{subscription.pk}/{verb}").json()

    assert tried["outcome"]["error"] == "internal"
    assert tried["outcome"]["detail"].startswith("a signing secret cannot be read")


@pytest.mark.parametrize("verb", ["test", "verify"])
def test_a_partner_has_one_request_under_way_at_a_time(receiver: Receiver, verb: str) -> None:
    one, other = caller(), caller(partner="Other")
    hanging = subscription_of(one.partner, url=receiver.url("/hang"))
    well = subscription_of(one.partner, url=receiver.url("/ok"))
    theirs = subscription_of(other.partner, url=receiver.url("/ok"))
    endpoint = load_endpoints([hanging.pk])[hanging.pk]
    under_way = Thread(target=send_now, args=(endpoint, "orders.created", "{}"))

    under_way.start()
    receiver.wait_for(1)
    refused = one.post(f"/subscriptions/{well.pk}/{verb}")
    meanwhile = other.post(f"/subscriptions/{theirs.pk}/{verb}")
    receiver.drop_connections()
    under_way.join(10)

    assert is_problem(refused, 429, "busy")
    assert refused["Retry-After"] == "2"
    assert meanwhile.json()["outcome"]["succeeded"]
    assert one.post(f"/subscriptions/{well.pk}/{verb}").json()["outcome"]["succeeded"]


def test_requests_of_all_partners_hold_a_quarter_of_the_threads(settings: Any) -> None:
    one = caller()
    subscription = subscription_of(one.partner)

    with ExitStack() as others:
        for number in range(settings.WEB_THREADS // 4):
            others.enter_context(shared_places.taken(f"ptr_{number}"))
        refused = one.post(f"/subscriptions/{subscription.pk}/test")

    assert is_problem(refused, 429, "busy")


def test_a_place_is_free_again_after_an_error() -> None:
    places = Places(1)
    with pytest.raises(ZeroDivisionError), places.taken("ptr_1"):
        raise ZeroDivisionError

    with places.taken("ptr_1"), pytest.raises(Busy), places.taken("ptr_2"):
        pass


def test_a_test_takes_no_longer_than_its_own_limit() -> None:
    subscription = subscription_of(caller().partner, timeout_s=30)
    endpoint = load_endpoints([subscription.pk])[subscription.pk]
    sender: Any = Noting()

    for one in (endpoint, replace(endpoint, timeout_s=2.0)):
        send_now(one, "orders.created", "{}", sender)

    assert [request.timeout_s for request in sender.requests] == [LONGEST_S, 2.0]


class Noting:
    """A sender that sends nothing."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def send(self, request: Request) -> Outcome:
        self.requests.append(request)
        return answered(200, {}, b"", 0.0)


def echo(exchange: Exchange) -> None:
    exchange.answer(body=orjson.loads(exchange.request.body)["data"]["challenge"].encode() + b"\n")


def test_an_endpoint_that_echoes_its_challenge_is_sent_to_from_then_on(receiver: Receiver, settings: Any) -> None:
    settings.ENDPOINT_PROOF = True
    receiver.answer("/echo", echo)
    one = caller()
    body = {"url": receiver.url("/echo"), "event_types": ["*"], "transformation": {"map": "$.data.missing"}}

    made = one.post("/subscriptions", body).json()
    path = f"/subscriptions/{made['id']}"
    refused = [one.post(f"{path}/{verb}") for verb in ("enable", "test")]
    tried = one.post(f"{path}/verify").json()

    assert (made["is_enabled"], made["disabled_reason"]) == (False, "unverified")
    assert all(is_problem(answer, 409, "unverified") for answer in refused)
    (got,) = receiver.requests
    Webhook(services.reveal_secrets(Subscription.objects.get())[0]).verify(got.body, got.headers)
    assert (tried["verified"], tried["reason"], tried["event_type"]) == (True, "", "endpoint.challenge")
    assert one.get(path).json()["is_enabled"]
    assert AuditEntry.objects.filter(action="subscription.verify", actor_id=one.key.pk).count() == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/ok", "it answered 200, but not with the challenge alone as the body"),
        ("/status/503", "status 503"),
        ("/redirect", "302: redirects are not followed"),
    ],
)
def test_an_endpoint_that_does_not_echo_its_challenge_is_not_sent_to(
    receiver: Receiver, settings: Any, path: str, reason: str
) -> None:
    settings.ENDPOINT_PROOF = True
    one = caller()
    subscription = subscription_of(one.partner, url=receiver.url(path))

    answer = one.post(f"/subscriptions/{subscription.pk}/verify").json()

    assert answer["verified"] is False
    assert answer["reason"].startswith(reason)

    subscription.refresh_from_db()
    assert (subscription.is_enabled, subscription.disabled_reason) == (False, "unverified")


def test_only_the_url_that_echoed_the_challenge_is_verified(settings: Any) -> None:
    settings.ENDPOINT_PROOF = True
    subscription = subscription_of(caller().partner, url="https://hooks.example.org/of-somebody-else")
    Subscription.objects.update(url="https://hooks.example.org/mine")
    sender: Any = ChangesBack(subscription)

    verify_now(subscription, sender)

    assert sender.asked == "https://hooks.example.org/mine"
    assert not Subscription.objects.get().is_enabled


class ChangesBack:
    """A sender whose endpoint echoes the challenge, while its owner changes the URL back to another one."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.asked = ""

    def send(self, request: Request) -> Outcome:
        self.asked = request.url
        Subscription.objects.update(url=self.subscription.url)
        return answered(200, {}, orjson.loads(request.body)["data"]["challenge"].encode(), 0.0)


def test_a_body_that_holds_more_than_the_challenge_is_no_echo(receiver: Receiver) -> None:
    receiver.answer("/mirror", lambda exchange: exchange.answer(body=exchange.request.body))
    one = caller()
    subscription = subscription_of(one.partner, url=receiver.url("/mirror"))

    assert one.post(f"/subscriptions/{subscription.pk}/verify").json()["verified"] is False
