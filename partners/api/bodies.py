"""Reads and writes JSON: strictly, within limits, and without changing what people wrote.

A request's body must be JSON in UTF-8, not too long or deep, without repeated keys in an object and without numbers
beyond 64-bit floats. `Body.members` has the exact bytes of its members, so that what people wrote (a transformation, a
sample) is stored unchanged. Answers contain such bytes as `RawJSON`.
"""

from functools import cached_property
from http import HTTPStatus
from typing import IO, Any

import orjson
from django.conf import settings
from django.http import HttpRequest
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from partners.api.refusals import Refused
from partners.errors import JSONError
from partners.exact_json import Limits, check, loads_unique, members

MAX_DEPTH = 70
MAX_BYTES = 1_048_576
"""For all bodies but those of publishing; `settings.API_BODY_MAX_BYTES` applies to all."""
RawJSON = orjson.Fragment
"""JSON text that is put into an answer unchanged."""


class Body(dict[str, Any]):
    """A JSON object with the bytes it was read from."""

    def __init__(self, values: dict[str, Any], raw: bytes) -> None:
        super().__init__(values)
        self.raw = raw

    @cached_property
    def members(self) -> dict[str, bytes]:
        """Each member's exact bytes."""
        return members(self.raw, limits())


def limits() -> Limits:
    return Limits(min(settings.API_BODY_MAX_BYTES, MAX_BYTES), MAX_DEPTH)


def read_body(stream: IO[bytes], meta: dict[str, Any], max_bytes: int) -> bytes:
    """Returns the whole body. Refuses one that is too long before reading it."""
    length = int(meta.get("CONTENT_LENGTH") or 0)
    if length > max_bytes:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_large",
            f"the body has {length} bytes, at most {max_bytes} are allowed",
        )
    return stream.read()


def parse(raw: bytes) -> Any:
    """Parses a body; an object becomes a Body. Raises ParseError with the reason."""
    try:
        check(raw, limits())
        value = orjson.loads(raw)
        if isinstance(value, dict):
            loads_unique(raw, limits())
            return Body(value, raw)
    except JSONError as error:
        raise ParseError(str(error)) from None
    except orjson.JSONDecodeError:
        raise ParseError("a number is beyond what 64-bit floats hold") from None
    return value


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        return parse(read_body(stream, (parser_context or {})["request"].META, limits().max_bytes))


class OrjsonRenderer(BaseRenderer):
    """Compact JSON. Serializers have made text of times and enumerations already."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        indented = orjson.OPT_INDENT_2 if "indent" in (renderer_context or {}) else 0  # in the browsable pages
        return b"" if data is None else orjson.dumps(data, default=str, option=indented)


def wants_page(request: HttpRequest | Request) -> bool:
    return "text/html" in request.META.get("HTTP_ACCEPT", "")


class PageOrJSON(DefaultContentNegotiation):
    """HTML for clients that accept it, JSON for all others, whatever they accept."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        chosen = next((one for one in renderers if (one.format == "api") == wants_page(request)), renderers[0])
        return chosen, chosen.media_type
