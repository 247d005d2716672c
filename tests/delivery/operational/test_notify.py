"""Operational events are delivered to the partner's operational URL, signed."""

from collections.abc import Mapping
from dataclasses import replace

import orjson
import pytest

from delivery.models import Delivery
from delivery.operational.kinds import BREAKER, KINDS, LIMITED
from delivery.operational.notify import Notice, notify
from delivery.routes import load_routes
from partners.models import Subscription
from partners.services import disable_subscription, operational_subscription, reveal_secrets
from tests.delivery.operational.conftest import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.servers, pytest.mark.usefixtures("valkey")]


def opened(subscription: Subscription) -> Notice:
    data = {"subscription_id": subscription.pk, "url": subscription.url, "opened": 1}
    return Notice(BREAKER, "k", subscription.partner_id, data, subscription.pk)


def wants_them(subscription: Subscription, url: str = "https://ops.reviews.com/hooks") -> None:
    subscription.partner.operational_url = url
    subscription.partner.save()


def test_without_an_operational_url_it_is_only_stored(subscription: Subscription) -> None:
    assert len(notify([opened(subscription)], NOW)) == 1
    assert Delivery.objects.count() == 0


def test_it_is_delivered_like_any_event(subscription: Subscription) -> None:
    wants_them(subscription)
    (event,) = notify([opened(subscription)], NOW)
    delivery = Delivery.objects.select_related("event", "subscription").get()
    assert (delivery.event_id, delivery.event_type, delivery.status) == (event.pk, "breaker.opened", "pending")
    assert (delivery.subscription.url, delivery.subscription.is_operational) == ("https://ops.reviews.com/hooks", True)
    assert orjson.loads(delivery.event.data) == {
        "subscription_id": subscription.pk,
        "url": "https://hooks.reviews.com/in",
        "opened": 1,
    }
    assert len(reveal_secrets(delivery.subscription)) == 1


def test_the_operational_subscription_is_made_once_and_moves_with_the_url(subscription: Subscription) -> None:
    wants_them(subscription)
    first = operational_subscription(subscription.partner)
    assert first is not None
    wants_them(subscription, "https://ops.reviews.com/other")
    assert operational_subscription(subscription.partner) == first
    assert Subscription.objects.get(is_operational=True).url == "https://ops.reviews.com/other"


def test_a_disabled_one_gets_nothing_until_the_url_changes(subscription: Subscription) -> None:
    wants_them(subscription)
    made = operational_subscription(subscription.partner)
    assert made is not None
    disable_subscription(made, "gone")
    assert operational_subscription(subscription.partner) is None
    wants_them(subscription, "https://ops.reviews.com/other")
    moved = operational_subscription(subscription.partner)
    assert moved is not None
    assert moved.is_enabled


def test_events_of_the_platform_are_not_routed_to_it(subscription: Subscription) -> None:
    wants_them(subscription)
    operational_subscription(subscription.partner)
    assert [route.subscription_id for route in load_routes(Subscription.objects.all())] == [subscription.pk]


def test_trouble_of_the_operational_endpoint_is_not_sent_to_it(subscription: Subscription) -> None:
    wants_them(subscription)
    own = operational_subscription(subscription.partner)
    assert own is not None
    assert len(notify([opened(own)], NOW)) == 1
    assert Delivery.objects.count() == 0


def test_a_url_that_is_refused_now_costs_the_delivery_only(subscription: Subscription) -> None:
    wants_them(subscription, "http://10.0.0.1/hooks")
    assert len(notify([opened(subscription)], NOW)) == 1
    assert Delivery.objects.count() == 0


def test_a_notice_that_fails_does_not_stop_those_of_others(
    subscription: Subscription, caplog: pytest.LogCaptureFixture
) -> None:
    broken = replace(opened(subscription), key="broken", data={})  # what its title names is missing
    assert [event.key for event in notify([broken, opened(subscription)], NOW)] == ["k"]
    assert [vars(one)["notice"] for one in caplog.records if one.levelname == "ERROR"] == ["broken"]


def test_logs_and_titles_do_not_tell_the_path_which_may_be_a_credential(
    subscription: Subscription, caplog: pytest.LogCaptureFixture
) -> None:
    subscription.url = "https://hooks.reviews.com:8443/T0123/s3cr3t?token=s3cr3t"
    (event,) = notify([opened(subscription)], NOW)
    assert event.title.startswith(f"https://hooks.reviews.com:8443 ({subscription.pk}) seems to be down")
    assert "s3cr3t" in event.data
    assert [vars(one)["url"] for one in caplog.records] == ["https://hooks.reviews.com:8443"]


@pytest.mark.parametrize("kind", list(KINDS.values()), ids=lambda kind: kind.name)
def test_a_title_can_be_made_of_the_sample(kind: object) -> None:
    assert isinstance(kind, type(KINDS[BREAKER]))
    sample: Mapping[str, object] = kind.sample
    assert "{" not in kind.title_of(sample)


@pytest.mark.parametrize(
    ("waiting", "wait_s", "told"), [(1, 3600, "1 delivery must wait"), (49, 176400, "takes about 2 days")]
)
def test_a_long_wait_is_not_told_in_seconds(waiting: int, wait_s: int, told: str) -> None:
    assert told in KINDS[LIMITED].title_of({"waiting": waiting, "rate_limit": "1/h", "wait_s": wait_s})
