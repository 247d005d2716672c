"""Helpers for tests of the admin: clients, dialogs and checks of pages."""

from collections.abc import Iterable

from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client

from partners.admin.base import change_url

DIALOG = {"_form_submitted": "True"}
"""The field that every submitted dialog contains."""


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
