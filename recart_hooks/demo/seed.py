"""Adds the event types, the demo's partners and a login to the database, if they are missing."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command

from partners.keys import create_key, find_key
from partners.models import Partner, Subscription
from partners.services import create_partner, create_subscription, reveal_secrets, update_subscription
from recart_hooks.demo.partners import DESCRIPTION, PARTNERS, DemoPartner
from recart_hooks.private_files import write_private
from recart_hooks.runner import PROJECT

CATALOGUE = PROJECT / "partners" / "catalogues" / "ecommerce.yaml"


def seed_administrator(password: str) -> None:
    """Creates the staff account `admin`, or resets its password to the one that the demo prints."""
    admin, _ = get_user_model().objects.get_or_create(
        username="admin", defaults={"is_staff": True, "is_superuser": True, "email": "admin@example.com"}
    )
    admin.set_password(password)
    admin.save()


def seed_key(kept_in: Path) -> str:
    """An API key of the first partner. It is kept in a file, because the database has only its hash."""
    if kept_in.exists() and find_key(kept_in.read_text()):
        return kept_in.read_text()
    token = create_key("demo", partner=Partner.objects.get(name=PARTNERS[0].name)).token
    write_private(kept_in, token)
    return token


def seed(receiver_url: str) -> Mapping[str, str]:
    """Adds the catalogue and the partners if they are missing. Returns the signing secrets by the partners' paths."""
    seed_catalogue()
    return {one.path: _seed_partner(one, receiver_url + one.path) for one in PARTNERS}


def seed_catalogue() -> None:
    call_command("event_types", "sync", str(CATALOGUE), stdout=StringIO())


def _seed_partner(wanted: DemoPartner, url: str) -> str:
    partner = Partner.objects.filter(name=wanted.name).first()
    if partner is None:
        partner = create_partner(wanted.name, rate_limit="100/s", notes="Made by `make demo`.")
    subscription = Subscription.objects.filter(partner=partner, description=DESCRIPTION, deleted_at=None).first()
    settings: dict[str, Any] = {
        "url": url,  # the receiver may have another port than last time
        "transformation": wanted.transformation,
        "retry_schedule_s": [2, 4, 8, 15, 30, 60],  # so that retries are seen within seconds
    }
    if subscription is None:
        subscription = create_subscription(partner, event_types=wanted.event_types, description=DESCRIPTION, **settings)
    else:
        update_subscription(subscription, settings)
    return reveal_secrets(subscription)[0]
