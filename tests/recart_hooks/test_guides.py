"""The guides that the API's description links to are served beside the API."""

import re
from typing import Any, cast

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from recart_hooks.guides import GUIDES
from recart_hooks.runner import PROJECT


@pytest.mark.parametrize("name", GUIDES)
def test_the_guides_are_served_as_they_are_written(client: Client, name: str) -> None:
    answer = client.get(f"/api/docs/{name}")

    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.content == (PROJECT / "docs" / name).read_bytes()


@pytest.mark.parametrize("name", ["operations.md", "..%2FREADME.md", "nothing"])
def test_nothing_else_is_served(client: Client, name: str) -> None:
    assert client.get(f"/api/docs/{name}").status_code == 404


def test_every_link_of_the_api_description_leads_somewhere(client: Client) -> None:
    document: Any = cast("Any", SchemaGenerator)().get_schema(request=None, public=True)
    links = set(re.findall(r"\]\((/[^)]+)\)", str(document)))

    assert {f"/api/docs/{name}" for name in GUIDES} == links
    assert all(client.get(link).status_code == 200 for link in links)
