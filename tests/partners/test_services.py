"""Services change what they should, check their input, and leave consistent rows."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.serializers import deserialize, serialize
from django.db import IntegrityError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from partners import services
from partners.models import FOREVER, AuditEntry, Partner, Subscription, SubscriptionSecret

pytestmark = [pytest.mark.django_db, pytest.mark.servers]


@pytest.fixture
def partner() -> Partner:
    return services.create_partner("Awesome Reviews", rate_limit="50/s")


@pytest.fixture
def subscription(partner: Partner) -> Subscription:
    return services.create_subscription(partner, "https://hooks.reviews.com/in", ["orders.*", "carts.abandoned"])


@pytest.mark.parametrize("rate", ["50", "50/d", "-1/s", "0/s", "ten/s", "50 /s", "1e3/s"])
def test_a_rate_limit_in_another_grammar_is_refused(rate: str) -> None:
    with pytest.raises(ValidationError, match="50/s, 600/m, 1000/h"):
        services.create_partner("Other", rate_limit=rate)


def test_a_partner_pauses_until_a_time_or_until_resumed(partner: Partner) -> None:
    services.pause_partner(partner)
    assert Partner.objects.get().paused_until == FOREVER
    assert partner.is_paused is True
    services.pause_partner(partner, timezone.now() - timedelta(seconds=1))
    assert Partner.objects.get().is_paused is False
    services.resume_partner(partner)
    assert Partner.objects.get().paused_until is None


def test_a_new_subscription_has_one_secret_which_is_stored_encrypted(subscription: Subscription) -> None:
    (secret,) = services.reveal_secrets(subscription)
    assert secret.startswith("whsec_")
    assert secret not in SubscriptionSecret.objects.get().token


def test_rotation_signs_with_both_secrets_until_the_overlap_ends(subscription: Subscription) -> None:
    (old,) = services.reveal_secrets(subscription)
    new = services.rotate_secret(subscription, overlap_s=3600)
    assert services.reveal_secrets(subscription) == [new, old]
    SubscriptionSecret.objects.exclude(expires_at=None).update(expires_at=timezone.now())
    assert services.reveal_secrets(subscription) == [new]
    services.rotate_secret(subscription)
    assert subscription.secrets.count() == 2, "one that has ended is removed"


def test_rotation_lets_no_former_secret_sign_for_longer(subscription: Subscription) -> None:
    services.rotate_secret(subscription, overlap_s=60)
    services.rotate_secret(subscription, overlap_s=3600)
    oldest = services.live_secrets(subscription).last()
    assert oldest.expires_at <= timezone.now() + timedelta(seconds=60)


def test_rotation_ends_a_secret_that_no_key_decrypts(subscription: Subscription) -> None:
    readable = services.rotate_secret(subscription)
    subscription.secrets.filter(expires_at__isnull=False).update(token="gAAAAA-not-ours")
    assert services.reveal_secrets(subscription) == [readable]
    new = services.rotate_secret(subscription)
    assert services.reveal_secrets(subscription) == [new, readable]
    assert subscription.secrets.count() == 2


def test_no_more_than_ten_secrets_are_live(subscription: Subscription) -> None:
    for _ in range(12):
        newest = services.rotate_secret(subscription)
    live = services.reveal_secrets(subscription)
    assert len(live) == services.MAX_LIVE_SECRETS
    assert live[0] == newest


def test_disabling_and_enabling_say_whether_something_changed(subscription: Subscription) -> None:
    assert services.disable_subscription(subscription, "gone")
    assert not services.disable_subscription(subscription, "failing")
    assert (subscription.is_enabled, subscription.disabled_reason) == (False, "gone")
    assert services.enable_subscription(subscription)
    assert not services.enable_subscription(subscription)
    assert (subscription.is_enabled, subscription.disabled_at, subscription.disabled_reason) == (True, None, "")


@pytest.mark.parametrize(
    ("first", "then", "replaces"),
    [
        ("failing", "partner", True),
        ("gone", "partner", True),
        ("unverified", "partner", False),
        ("staff", "partner", False),
        ("failing", "staff", True),
        ("partner", "staff", True),
        ("unverified", "staff", True),
        ("staff", "staff", False),
        ("partner", "failing", False),
    ],
)
def test_who_disables_a_disabled_subscription_takes_it_from_the_automatic_and_staff_from_everybody(
    subscription: Subscription, first: str, then: str, replaces: bool
) -> None:
    services.disable_subscription(subscription, first)
    since = subscription.disabled_at

    assert services.disable_subscription(subscription, then) is replaces

    assert (subscription.disabled_reason, subscription.disabled_at) == (then if replaces else first, since)
    entries = AuditEntry.objects.filter(action="subscription.disable").order_by("id")
    reasons = [(entry.before["disabled_reason"], entry.after["disabled_reason"]) for entry in entries]
    assert reasons == [("", first), (first, then)][: 1 + replaces]


def test_a_deleted_subscription_cannot_come_back(subscription: Subscription) -> None:
    services.update_subscription(subscription, {"headers": {"Authorization": "Bearer x"}})
    as_it_was = Subscription.objects.get()
    services.delete_subscription(subscription)
    assert not services.enable_subscription(subscription)
    assert not services.disable_subscription(subscription, "staff")
    with pytest.raises(Subscription.DoesNotExist):
        services.rotate_secret(as_it_was)
    assert (subscription.secrets.count(), subscription.headers) == (0, {})


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"event_types": []}, "event_types"),
        ({"event_types": ["orders created"]}, "event_types"),
        ({"headers": {"Webhook-Id": "x"}}, "headers"),
        ({"headers": {"X": "a\r\nEvil: 1"}}, "headers"),
        ({"headers": ["X"]}, "headers"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers"),
        ({"headers": {f"X-{number}": "a" * 4096 for number in range(7)}}, "headers"),
        ({"headers": {"Accept-Encoding": "gzip"}}, "headers"),
        ({"headers": {"Traceparent": "00-1-2-01"}}, "headers"),
        ({"retry_schedule_s": [0.1]}, "retry_schedule_s"),
        ({"retry_schedule_s": [60.0] * 40}, "retry_schedule_s"),
        ({"timeout_s": 31}, "timeout_s"),
    ],
)
def test_errors_of_a_subscription_are_by_field(partner: Partner, fields: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValidationError) as caught:
        services.create_subscription(partner, "https://hooks.awesome-reviews.com/", **{"event_types": ["*"], **fields})  # type: ignore[arg-type]
    assert list(caught.value.message_dict) == [wrong]


def test_a_url_that_is_refused_by_now_hinders_no_other_change(
    partner: Partner, subscription: Subscription, settings: Any
) -> None:
    http = {"operational_url": "http://ops.reviews.com/"}, {"url": "http://hooks.reviews.com/in"}
    services.update_partner(partner, http[0])
    services.update_subscription(subscription, http[1])
    settings.ENDPOINT_SCHEMES = ["https"]

    services.update_partner(partner, {"rate_limit": "5/s"})
    services.update_subscription(subscription, {"timeout_s": 5})

    assert Partner.objects.get().rate_limit == "5/s"
    assert Subscription.objects.get(pk=subscription.pk).timeout_s == 5
    with pytest.raises(ValidationError, match="https"):
        services.update_subscription(subscription, {"url": "http://hooks.reviews.com/other"})


def test_the_database_requires_a_time_of_disabling(subscription: Subscription) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Subscription.objects.update(is_enabled=False)


def test_headers_are_encrypted_by_a_migration_that_can_be_undone(subscription: Subscription) -> None:
    before = MigrationLoader(connection).project_state(("partners", "0006_keys_of_the_catalogue")).apps
    rows = before.get_model("partners", "Subscription").objects.filter(pk=subscription.pk)
    change = import_module("partners.migrations.0007_encrypt_headers").Migration.operations[0]
    plain = {"Authorization": "Bearer x", "X-Shop": ""}
    rows.update(headers=plain)

    change.code(before, None)
    subscription.refresh_from_db()
    assert "Bearer" not in str(rows.get().headers)
    assert subscription.headers == plain
    assert "Bearer" not in repr(subscription.headers)

    change.reverse_code(before, None)
    assert rows.get().headers == plain


def test_a_dump_has_encrypted_headers_and_can_be_loaded(subscription: Subscription) -> None:
    services.update_subscription(subscription, {"headers": {"Authorization": "Bearer x"}})

    dump = serialize("json", Subscription.objects.all())
    for one in deserialize("json", dump):
        one.save()

    assert "Bearer" not in dump
    assert Subscription.objects.get().headers == {"Authorization": "Bearer x"}


def test_a_new_url_has_to_be_verified_and_no_verification_of_the_former_one_counts(
    subscription: Subscription, settings: Any
) -> None:
    settings.ENDPOINT_PROOF = True
    services.update_subscription(subscription, {"timeout_s": 5})
    assert subscription.is_enabled

    services.update_subscription(subscription, {"url": "https://hooks.reviews.com/second"})
    meant = Subscription.objects.get()
    assert (meant.is_enabled, meant.disabled_reason) == (False, "unverified")

    services.update_subscription(subscription, {"url": "https://hooks.reviews.com/third"})
    assert not services.verify_subscription(meant, meant.url)
    assert services.verify_subscription(subscription, subscription.url)
    assert subscription.is_enabled


def test_what_staff_disabled_stays_theirs_when_its_url_changes(subscription: Subscription, settings: Any) -> None:
    settings.ENDPOINT_PROOF = True
    services.disable_subscription(subscription, "staff")

    services.update_subscription(subscription, {"url": "https://hooks.reviews.com/second"})

    assert not services.verify_subscription(subscription, subscription.url)
    assert subscription.disabled_reason == "staff"


def test_an_operational_url_has_to_be_verified_too(partner: Partner, settings: Any) -> None:
    settings.ENDPOINT_PROOF = True
    services.update_partner(partner, {"operational_url": "https://hooks.reviews.com/trouble"})
    assert services.operational_subscription(partner) is None
    made = Subscription.objects.get(is_operational=True)
    services.verify_subscription(made, made.url)
    assert services.operational_subscription(partner) == made

    services.update_partner(partner, {"operational_url": "https://hooks.reviews.com/more-trouble"})
    assert services.operational_subscription(partner) is None
