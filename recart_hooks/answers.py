"""Error handlers for requests that no view answers: problem details under /api/, Django's plain pages elsewhere."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from partners.api.problems import problem_response
from recart_hooks.paths import is_api


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request.path):
        return problem_response(request, 400, "bad_request", "this request can't be understood")
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request.path):
        return problem_response(request, 404, "not_found", "there is nothing at this address")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest, *args: Any) -> HttpResponse:
    if is_api(request.path):
        return problem_response(request, 500, "internal", "an internal error; it was logged with the request id")
    return defaults.server_error(request)
