"""Operational events reach the partner's operational URL as signed events, and people by e-mail."""

from collections.abc import Mapping
from datetime import timedelta
from smtplib import SMTPServerDisconnected

import orjson
import pytest
from django.core import mail as outbox
from pytest_django import Settings

from delivery.models import Delivery, OperationalEvent
from delivery.operational import mail
from delivery.operational.kinds import BREAKER, KINDS
from delivery.operational.notify import Notice, notify
from delivery.routes import load_routes
from partners.models import Subscription
from partners.services import disable_subscription, operational_subscription, reveal_secrets
from tests.delivery.operational.conftest import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.servers, pytest.mark.usefixtures("valkey")]

STAFF = ["ops@recart-hooks.com"]


def opened(subscription: Subscription, key: str = "k") -> Notice:
    data = {"subscription_id": subscription.pk, "url": subscription.url, "opened": 1}
    return Notice(BREAKER, key, subscription.partner_id, data, subscription.pk)


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


@pytest.mark.parametrize("kind", list(KINDS.values()), ids=lambda kind: kind.name)
def test_a_title_can_be_made_of_the_sample(kind: object) -> None:
    assert isinstance(kind, type(KINDS[BREAKER]))
    sample: Mapping[str, object] = kind.sample
    assert "{" not in kind.title_of(sample)


@pytest.fixture
def mailing(settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.recart-hooks.com"


@pytest.mark.usefixtures("mailing")
def test_what_has_gathered_is_one_message(subscription: Subscription) -> None:
    subscription.partner.operational_email = "dev@reviews.com"
    subscription.partner.save()
    notify([opened(subscription, "one"), opened(subscription, "two")], NOW)
    assert mail.send_mail(NOW, STAFF) == 2
    assert sorted(one.to[0] for one in outbox.outbox) == ["dev@reviews.com", *STAFF]
    assert outbox.outbox[0].subject == "[Recart Hooks] 2 notices about your webhooks"
    assert str(outbox.outbox[0].body).count("seems to be down") == 2
    assert mail.send_mail(NOW, STAFF) == 0


@pytest.mark.usefixtures("mailing")
def test_a_mail_server_that_is_away_is_tried_again(subscription: Subscription, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "tests.delivery.operational.test_notify.Unreachable"
    notify([opened(subscription)], NOW)
    mail.send_mail(NOW, STAFF)
    assert OperationalEvent.objects.get().emailed_at is None
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert mail.send_mail(NOW + timedelta(hours=25), STAFF) == 0
    assert mail.send_mail(NOW + timedelta(hours=1), STAFF) == 1
    assert OperationalEvent.objects.get().emailed_at == NOW + timedelta(hours=1)


def test_without_a_mail_server_nothing_is_sent(subscription: Subscription, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    notify([opened(subscription)], NOW)
    assert mail.send_mail(NOW, STAFF) == 0
    assert outbox.outbox == []


class Unreachable:
    """A mail backend whose server is away."""

    def __init__(self, *args: object, **options: object) -> None:
        pass

    def send_messages(self, _messages: object) -> int:
        raise SMTPServerDisconnected("away")
