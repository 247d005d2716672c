"""`/api/schema/` and `/api/docs/`: the OpenAPI document of the API, and the page that shows it."""

from functools import cache
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request


class Schema(SpectacularAPIView):
    """The OpenAPI document, as YAML."""

    renderer_classes = [OpenApiYamlRenderer]  # noqa: RUF012 - REST framework's

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Ignores parameters such as `version`, so that nobody can have the document generated again."""
        return HttpResponse(
            _document(),
            content_type=f"{OpenApiYamlRenderer.media_type}; charset=utf-8",
            headers={"Content-Disposition": 'inline; filename="Recart Hooks.yaml"'},
        )


class Docs(SpectacularSwaggerSplitView):
    """Only GET and HEAD: the answer to OPTIONS would need a template that does not exist."""

    http_method_names = ["get", "head"]  # noqa: RUF012 - Django's


@cache
def _document() -> bytes:
    """Generated once per process: it takes 0.15 s of CPU, and the request for it needs no API key."""
    document = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]  # theirs
    return bytes(OpenApiYamlRenderer().render(document))  # type: ignore[no-untyped-call]  # theirs
