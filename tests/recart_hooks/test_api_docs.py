"""The API's own description: the OpenAPI document and the page that shows it."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator


def test_the_document_is_generated_once_per_process(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get("/api/schema/")

    def generate_again(*_: Any, **__: Any) -> None:
        raise AssertionError("the document is generated again")

    monkeypatch.setattr(SchemaGenerator, "get_schema", generate_again)
    others = [
        client.get("/api/schema/"),
        client.get("/api/schema/?version=7&lang=de"),
        client.get("/api/schema/", headers={"Accept": "application/json"}),
    ]

    assert (first.status_code, first["Content-Type"]) == (200, "application/vnd.oai.openapi; charset=utf-8")
    assert first.content.startswith(b"openapi: 3.1.1\n")
    assert b"/api/schema/" not in first.content
    assert [(one.status_code, one.content) for one in others] == [(200, first.content)] * 3


def test_the_document_is_generated_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--fail-on-warn", stdout=StringIO())

    assert "Warning" not in capsys.readouterr().err


def test_no_docstring_describes_an_operation() -> None:
    paths = SchemaGenerator().get_schema(public=True)["paths"]  # type: ignore[no-untyped-call]  # theirs
    operations = {(path, method): one for path, methods in paths.items() for method, one in methods.items()}

    assert "description" not in operations["/api/v1/partner", "get"]
    assert [where for where, one in operations.items() if "partners.api" in one.get("description", "")] == []
