"""Answers every error with RFC 9457 problem details, which name the places that are wrong, never with a traceback.

    {"type": "about:blank", "title": "Bad Request", "status": 400, "code": "invalid", "detail": "…",
     "request_id": "…", "errors": [{"pointer": "#/event_types/0", "detail": "…"}]}

`pointer` is a JSON pointer into the request's body; `parameter` or `header` is there instead if the error is in one.
`code` is for programs, `detail` for people.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelInvalid
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from psycopg.errors import ReadOnlySqlTransaction
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from partners.api.refusals import Invalid, Refused
from partners.json_pointer import pointer
from partners.query_time import is_too_slow

logger = logging.getLogger("api.problem")

CONTENT_TYPE = "application/problem+json"
_PLACES_SHOWN = 20
_NAME_SHOWN = 100


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """REST framework's EXCEPTION_HANDLER."""
    set_rollback()
    request = context.get("request")
    known = _known(error)
    if known.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed", exc_info=error, extra={"status": known.status_code})
    body = problem(known.status_code, _code(known), _detail(known), request_id_of(request), _places(known))
    return Response(body, known.status_code, headers=_headers(known), content_type=_content_type(request))


def problem(
    status: int, code: str, detail: str, request_id: str, places: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """The body of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    }
    return {**body, "errors": places} if places else body


def problem_response(request: HttpRequest, status: int, code: str, detail: str) -> JsonResponse:
    """For errors outside of REST framework: unknown paths, refused hosts, internal errors."""
    return JsonResponse(problem(status, code, detail, request_id_of(request)), status=status, content_type=CONTENT_TYPE)


def request_id_of(request: Request | HttpRequest | None) -> str:
    return str(getattr(request, "request_id", ""))


def _known(error: Exception) -> exceptions.APIException:
    if isinstance(error, exceptions.APIException):
        return error
    if isinstance(error, Http404):
        return exceptions.NotFound("there is no such resource")
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, ModelInvalid):
        return Invalid(list(_model_places(error)))
    if is_too_slow(error):
        detail = "the database takes too long for this: narrow it by time or by more filters, or try again later"
        return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too_slow", detail, {"Retry-After": "10"})
    if isinstance(error, (OperationalError, InterfaceError)) or isinstance(error.__cause__, ReadOnlySqlTransaction):
        return Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "unavailable",
            "the database is unavailable; try again",
            {"Retry-After": "2"},
        )
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "an internal error; it was logged with the request id")


def _code(error: exceptions.APIException) -> str:
    if isinstance(error, exceptions.ValidationError):
        return "invalid"
    codes = error.get_codes()
    return codes if isinstance(codes, str) else error.default_code


def _detail(error: exceptions.APIException) -> str:
    if isinstance(error, exceptions.ValidationError):
        return "the request is not valid; see errors"
    return str(error.detail)


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = dict(getattr(error, "headers", {}))
    if authenticate := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(authenticate)
    wait: float | None = getattr(error, "wait", None)  # of exceptions.Throttled
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    return headers


def _content_type(request: Request | None) -> str | None:
    """None for the browsable page, which keeps its own type."""
    renderer = getattr(request, "accepted_renderer", None)
    return CONTENT_TYPE if renderer is None or renderer.format == "json" else None


def _places(error: exceptions.APIException) -> list[dict[str, str]]:
    if isinstance(error, Invalid):
        return error.places
    if isinstance(error, exceptions.ValidationError):
        places = list(places_of(error.detail))
        more = [{"pointer": "#", "detail": f"{len(places) - _PLACES_SHOWN} more are wrong"}]
        return places[:_PLACES_SHOWN] + (more if len(places) > _PLACES_SHOWN else [])
    return []


def places_of(detail: Any, at: str = "#") -> Iterator[dict[str, str]]:
    """REST framework's nested errors as a flat list of places."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from places_of(inner, at if name == "non_field_errors" else pointer(at, str(name)[:_NAME_SHOWN]))
    elif isinstance(detail, (list, tuple)):
        for number, inner in enumerate(detail):
            yield from places_of(inner, f"{at}/{number}" if isinstance(inner, (Mapping, list)) else at)
    else:
        yield {"pointer": at, "detail": str(detail)}


def _model_places(error: ModelInvalid) -> Iterator[dict[str, str]]:
    by_field = error.error_dict if hasattr(error, "error_dict") else {"__all__": error.error_list}
    for name, problems in by_field.items():
        for one in problems:
            at = "#" if name == "__all__" else pointer("#", name) + getattr(one, "path", "")
            yield {"pointer": at, "detail": " ".join(one.messages)}
