"""API keys in the admin, logins to it, and the rotation of encryption keys."""

import re
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.test import Client

from partners import services
from partners.keys import MAX_LIVE_KEYS, create_key, find_key
from partners.models import ApiKey, AuditEntry
from tests.api_calls import partner_named, subscription_of

pytestmark = pytest.mark.django_db


def test_staff_make_a_key_and_see_it_once(admin_client: Client) -> None:
    partner = partner_named("Yotpo")
    form = {"name": "server", "scope": "partner", "partner": partner.pk}

    page = admin_client.post("/admin/partners/apikey/add/", form)

    (token,) = re.findall(r"rk_[\w-]{43}", page.content.decode())
    key = find_key(token)
    assert key is not None
    assert (key.partner, key.created_by) == (partner, "staff admin")
    assert "no-store" in page["Cache-Control"]
    assert re.search(r"<title>\s*The API key server \| Recart Hooks\s*</title>", page.content.decode())
    for path in ("/admin/partners/apikey/", f"/admin/partners/apikey/{key.pk}/change/", "/admin/"):
        assert token not in admin_client.get(path, follow=True).content.decode()
    assert AuditEntry.objects.get(action="api_key.create").actor_name == "admin"


def test_a_producers_key_has_no_partner(admin_client: Client) -> None:
    wrong = {"name": "server", "scope": "producer", "partner": partner_named("Yotpo").pk}

    assert b"belongs to no partner" in admin_client.post("/admin/partners/apikey/add/", wrong).content
    assert not ApiKey.objects.exists()
    assert admin_client.post("/admin/partners/apikey/add/", {"name": "server", "scope": "producer"}).status_code == 200
    assert ApiKey.objects.get().scope == "producer"


def test_a_key_that_would_be_expired_is_refused_in_the_form(admin_client: Client) -> None:
    form = {"name": "server", "scope": "partner", "partner": partner_named("Yotpo").pk}

    answer = admin_client.post(
        "/admin/partners/apikey/add/", {**form, "expires_at_0": "2020-01-01", "expires_at_1": "00:00"}
    )

    assert "this time is in the past" in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_a_key_beyond_the_limit_is_refused_in_the_form(admin_client: Client) -> None:
    partner = partner_named("Yotpo")
    for number in range(MAX_LIVE_KEYS):
        create_key(f"server {number}", partner=partner)

    answer = admin_client.post(
        "/admin/partners/apikey/add/", {"name": "one more", "scope": "partner", "partner": partner.pk}
    )

    assert f"at most {MAX_LIVE_KEYS} live keys" in answer.content.decode()
    assert ApiKey.objects.count() == MAX_LIVE_KEYS


def test_keys_are_never_changed(admin_client: Client) -> None:
    key = create_key("server", partner=partner_named("Yotpo")).key

    assert admin_client.post(f"/admin/partners/apikey/{key.pk}/change/", {"name": "x"}).status_code == 403


def test_what_staff_change_in_the_admin_is_in_the_audit_log(admin_client: Client) -> None:
    partner = partner_named("Yotpo")
    form = {"name": "Yotpo", "rate_limit": "5/s", "max_in_flight": "16"}

    assert admin_client.post(f"/admin/partners/partner/{partner.pk}/change/", form).status_code == 302

    entry = AuditEntry.objects.get(action="partner.update")
    assert (entry.actor_kind, entry.actor_name) == ("staff", "admin")
    assert (entry.before, entry.after) == ({"rate_limit": ""}, {"rate_limit": "5/s"})


def test_guessing_passwords_is_stopped(client: Client, admin_user: Any) -> None:
    wrong = {"username": "admin", "password": "guess"}
    for _ in range(5):
        client.post("/admin/login/", wrong)

    answer = client.post("/admin/login/", {"username": "admin", "password": "password"})

    assert answer.status_code == 429
    assert client.get("/admin/").status_code == 302


def test_secrets_are_encrypted_with_the_first_key(settings: Any) -> None:
    subscription = subscription_of(partner_named("Yotpo"), headers={"Authorization": "Bearer x"})
    before = services.reveal_secrets(subscription)
    old, new = settings.ENCRYPTION_KEYS, Fernet.generate_key().decode()

    settings.ENCRYPTION_KEYS = [new, *old]
    call_command("reencrypt_secrets")
    settings.ENCRYPTION_KEYS = [new]

    assert services.reveal_secrets(subscription) == before
    subscription.refresh_from_db()
    assert subscription.headers == {"Authorization": "Bearer x"}


def test_a_secret_that_no_key_decrypts_is_kept_and_reported(settings: Any) -> None:
    subscription_of(partner_named("Yotpo"), headers={"Authorization": "Bearer x"})
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(CommandError, match="2 of them were left"):
        call_command("reencrypt_secrets")
