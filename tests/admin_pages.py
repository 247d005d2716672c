"""What the tests of the admin share: who looks, and how a dialog is answered."""

from collections.abc import Iterable

from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client

from partners.admin.base import change_url

DIALOG = {"_form_submitted": "True"}
"""What every dialog posts."""


def dialog_url(obj: Model, action: str) -> str:
    return change_url(obj).replace("/change/", f"/{action}/")


def viewer(*codenames: str) -> Client:
    """Staff with these permissions, and nothing else."""
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
