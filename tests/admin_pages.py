"""Helpers for tests of the admin: rows, clients, dialogs and checks of pages."""

import re
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client

from partners import services
from partners.admin.base import change_url
from partners.models import Partner, Subscription

DIALOG = {"_form_submitted": "True"}
"""The field that every submitted dialog contains."""
SECRET = re.compile(rb"whsec_[A-Za-z0-9+/=]+")


def new_partner(name: str = "Yotpo", **fields: Any) -> Partner:
    return services.create_partner(name, **fields)


def new_subscription(partner: Partner | None = None, **fields: Any) -> Subscription:
    fields = {"url": "https://hooks.example.com/recart", "event_types": ["orders.*"], **fields}
    return services.create_subscription(partner or new_partner(), **fields)


def event_type_form(**changes: str) -> dict[str, str]:
    form = {"name": "orders.created", "description": "", "sample": "", "schema": ""}
    return {**form, "on_schema_error": "flag", "version": "1", "is_catalogued": "on", **changes}


def dialog_url(obj: Model, action: str) -> str:
    return change_url(obj).replace("/change/", f"/{action}/")


def viewer(*codenames: str) -> Client:
    """A logged-in client of a member of staff with only these permissions."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def assert_staff_see(client: Client, pages: Iterable[str]) -> None:
    for page in pages:
        assert client.get(page).status_code == 200, page


def assert_strangers_log_in(client: Client, pages: Iterable[str]) -> None:
    for page in pages:
        answer = client.get(page)
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/"), page
