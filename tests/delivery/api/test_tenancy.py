"""No object of another partner can be read, changed or counted: every route, every method, every role.

The routes come from the URLconf and from the schema, so that a new one can't be forgotten: it has to be listed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from django.core.serializers import serialize
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator

from delivery.models import Attempt, Delivery, Event, ReplayJob
from partners.keys import create_key
from partners.models import ApiKey, Partner, Subscription
from tests.api_calls import Caller, call, caller, subscription_of
from tests.rows import NOON, new_delivery, new_event

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = ("partner", "read_only", "producer", "catalogue")
READS, WRITES, PUBLISHES, CATALOGUES = {"partner", "read_only"}, {"partner"}, {"producer"}, {"catalogue"}

ALLOWED: dict[tuple[str, str], set[str]] = {
    ("events", "POST"): PUBLISHES,
    ("events/<event:event_id>", "GET"): READS | PUBLISHES,
    ("events/<event:event_id>", "DELETE"): PUBLISHES,
    ("deliveries", "GET"): READS,
    ("deliveries/<id:delivery_id>", "GET"): READS,
    ("deliveries/<id:delivery_id>/retry", "POST"): WRITES,
    ("deliveries/<id:delivery_id>/attempts", "GET"): READS,
    ("deliveries/<id:delivery_id>/attempts/<number:number>", "GET"): READS,
    ("subscriptions/<id:subscription_id>/test", "POST"): WRITES,
    ("subscriptions/<id:subscription_id>/verify", "POST"): WRITES,
    ("preview", "POST"): READS,
    ("replays", "GET"): READS,
    ("replays", "POST"): WRITES,
    ("replays/estimate", "POST"): READS,
    ("replays/<id:replay_id>", "GET"): READS,
    ("replays/<id:replay_id>/cancel", "POST"): WRITES,
    ("stats", "GET"): READS,
    ("queue", "GET"): READS,
    ("partner", "GET"): READS,
    ("partner", "PATCH"): WRITES,
    ("partner/pause", "POST"): WRITES,
    ("partner/resume", "POST"): WRITES,
    ("keys", "GET"): READS,
    ("keys", "POST"): WRITES,
    ("keys/<id:key_id>", "GET"): READS,
    ("keys/<id:key_id>", "DELETE"): WRITES,
    ("subscriptions", "GET"): READS,
    ("subscriptions", "POST"): WRITES,
    ("subscriptions/<id:subscription_id>", "GET"): READS,
    ("subscriptions/<id:subscription_id>", "PATCH"): WRITES,
    ("subscriptions/<id:subscription_id>", "DELETE"): WRITES,
    ("subscriptions/<id:subscription_id>/enable", "POST"): WRITES,
    ("subscriptions/<id:subscription_id>/disable", "POST"): WRITES,
    ("subscriptions/<id:subscription_id>/secrets", "GET"): WRITES,
    ("subscriptions/<id:subscription_id>/secrets/rotate", "POST"): WRITES,
    ("event-types", "GET"): READS | PUBLISHES | CATALOGUES,
    ("event-types/<type:name>", "GET"): READS | PUBLISHES | CATALOGUES,
    ("event-types/<type:name>", "PUT"): CATALOGUES,
    ("audit-log", "GET"): READS,
}
"""Which roles may use each method of each route. Every other method answers 405."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A partner with one object of each kind."""

    partner: Partner
    subscription: Subscription
    key: ApiKey
    delivery: Delivery
    replay: ReplayJob

    @property
    def words(self) -> list[str]:
        return [self.partner.pk, self.subscription.pk, self.key.pk, self.delivery.pk, self.replay.pk, "victim"]

    def path(self, route: str) -> str:
        values = {
            "<event:event_id>": "victim-event",
            "<id:delivery_id>": self.delivery.pk,
            "<number:number>": "1",
            "<id:subscription_id>": self.subscription.pk,
            "<id:replay_id>": self.replay.pk,
            "<id:key_id>": self.key.pk,
            "<type:name>": "never.heard",
        }
        for name, value in values.items():
            route = route.replace(name, value)
        return f"/{route}"

    @property
    def state(self) -> str:
        models = (Partner, Subscription, ApiKey, Delivery, Attempt, Event, ReplayJob)
        return "".join(serialize("json", model._default_manager.order_by("pk")) for model in models)


@pytest.fixture
def victim() -> Victim:
    owner = caller(partner="victim partner")
    subscription = subscription_of(owner.partner, description="victim subscription")
    event = new_event(id="victim-event", data='"victim data"')
    delivery = new_delivery(subscription, event)
    Attempt.objects.create(delivery=delivery, number=1, started_at=NOON, latency_ms=1, response_excerpt="victim answer")
    replay = ReplayJob.objects.create(
        partner=owner.partner,
        subscription=subscription,
        mode="all",
        since=NOON,
        until=NOON,
        total=1,
        is_total_exact=True,
    )
    return Victim(owner.partner, subscription, create_key("victim key", partner=owner.partner).key, delivery, replay)


def routes() -> Iterator[str]:
    for top in get_resolver().url_patterns:
        if isinstance(top, URLResolver) and str(top.pattern) == "api/v1/":
            for pattern in top.url_patterns:
                assert isinstance(pattern, URLPattern)
                yield str(pattern.pattern)


EVERY = list(ALLOWED)
OTHERS = [(route, method) for route in routes() for method in METHODS if (route, method) not in ALLOWED]


def body_for(method: str, victim: Victim) -> Any:
    named = {"subscription_id": victim.subscription.pk, "mode": "all", "since": "2020-01-01T00:00:00Z"}
    return named if method in {"POST", "PUT", "PATCH"} else None


def test_every_route_is_listed_with_who_may_use_it() -> None:
    assert {route for route, _ in ALLOWED} == set(routes())


def test_the_schema_has_the_same_operations() -> None:
    document: Any = cast("Any", SchemaGenerator)().get_schema(request=None, public=True)
    documented = sum(len(operations) for operations in document["paths"].values())

    assert documented == len(ALLOWED)


@pytest.mark.parametrize(("route", "method"), EVERY)
def test_without_a_key_nothing_is_answered(route: str, method: str, victim: Victim) -> None:
    before = victim.state

    answer = call(method, victim.path(route), body_for(method, victim))

    assert answer.status_code == 401
    assert victim.state == before


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_listed_is_open_to_nobody(role: str, victim: Victim) -> None:
    stranger = caller(role, partner="stranger")
    before = _without_use(victim)

    answers = {one: stranger.call(one[1], victim.path(one[0]), body_for(one[1], victim)).status_code for one in OTHERS}

    assert {one: status for one, status in answers.items() if status not in {403, 404, 405}} == {}
    assert _without_use(victim) == before


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("route", "method"), EVERY)
def test_the_scope_of_a_key_decides_what_it_may_do(route: str, method: str, role: str, victim: Victim) -> None:
    stranger = caller(role, partner="stranger")

    answer = stranger.call(method, victim.path(route), body_for(method, victim))

    if role not in ALLOWED[route, method]:
        assert answer.status_code == 403, answer.content
    else:
        assert answer.status_code not in {401, 403, 405, 500}, answer.content


@pytest.mark.parametrize("role", ["partner", "read_only"])
@pytest.mark.parametrize(("route", "method"), [one for one in EVERY if "<id:" in one[0] or "<event:" in one[0]])
def test_what_is_another_partners_is_not_there(route: str, method: str, role: str, victim: Victim) -> None:
    stranger = caller(role, partner="stranger")
    before = _without_use(victim)

    answer = stranger.call(method, victim.path(route), body_for(method, victim))

    expected = {404} if role in ALLOWED[route, method] else {403}
    assert answer.status_code in expected, answer.content
    assert _without_use(victim) == before


@pytest.mark.parametrize("route", [route for route in routes() if (route, "GET") in ALLOWED and "<" not in route])
@pytest.mark.parametrize("role", ["partner", "read_only"])
def test_no_list_shows_or_counts_what_is_another_partners(route: str, role: str, victim: Victim) -> None:
    stranger: Caller = caller(role, partner="stranger")

    for query in ("", f"?subscription_id={victim.subscription.pk}", f"?subject_id={victim.subscription.pk}"):
        answer = stranger.get(f"/{route}{query}")
        assert answer.status_code in {200, 400, 404}
        text = answer.content.decode()
        assert [word for word in victim.words if word in text] == []


@pytest.mark.parametrize("route", ["replays", "replays/estimate", "preview"])
def test_no_body_reaches_what_is_another_partners(route: str, victim: Victim) -> None:
    body = body_for("POST", victim)
    if route == "preview":
        body = {"event_id": "victim-event"}

    answer = caller(partner="stranger").post(f"/{route}", body)

    assert answer.status_code == 404, answer.content


def _without_use(victim: Victim) -> str:
    """The state without the last use of keys, which each request of the stranger changes."""
    ApiKey.objects.update(last_used_at=None)
    return victim.state
