"""Requests with a NUL are refused before any view sees them."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    [
        "/admin/delivery/delivery/?id=%00",
        "/admin/delivery/event/?type=a%00",
        "/admin/delivery/event/?%00=a",
        "/admin/partners/subscription/?partner__id__exact=%00",
        "/admin/partners/partner/%00/change/",
        "/admin/partners/partner/traffic/?partner=%00",
        "/admin/autocomplete/?app_label=partners&model_name=subscription&field_name=partner&term=%00",
    ],
)
def test_an_address_with_a_nul_is_refused_by_the_admin(admin_client: Client, path: str) -> None:
    assert admin_client.get(path).status_code == 400


@pytest.mark.parametrize("form", [{"name": "a\0"}, {"name\0": "a"}, {"name": ["a", "\0"]}])
def test_a_form_with_a_nul_is_refused_by_the_admin(admin_client: Client, form: dict[str, str]) -> None:
    assert admin_client.post("/admin/partners/partner/add/", form).status_code == 400
    assert admin_client.get("/admin/partners/partner/add/").status_code == 200


@pytest.mark.parametrize("path", ["/admin/", "/", "/api/v1/partner"])
def test_a_cookie_with_a_nul_is_refused(client: Client, path: str) -> None:
    assert client.get(path, headers={"cookie": r'sessionid="0123456789\000"'}).status_code == 400
