"""What the pages that are others' answer to requests that these do not expect."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
def test_the_page_of_the_docs_is_only_looked_at(client: Client, method: str) -> None:
    assert client.get("/api/docs/").status_code == 200
    assert client.head("/api/docs/").status_code == 200
    assert client.generic(method, "/api/docs/").status_code == 405
