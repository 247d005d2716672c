"""Third-party pages answer requests that they do not expect."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
def test_the_page_of_the_docs_is_only_looked_at(client: Client, method: str) -> None:
    assert client.get("/api/docs/").status_code == 200
    assert client.head("/api/docs/").status_code == 200
    assert client.generic(method, "/api/docs/").status_code == 405


@pytest.mark.parametrize("page", ["abc", "-1", "0", "2", "9" * 30, ""])
def test_the_quick_search_has_one_page(admin_client: Client, page: str) -> None:
    answer = admin_client.get("/admin/search/", {"s": "e", "extended": "1", "page": page})

    assert answer.status_code == 200
    assert "Event types" in answer.content.decode()


def test_the_quick_search_is_for_staff(client: Client) -> None:
    assert client.get("/admin/search/?s=e").status_code == 302
