"""Gives every request an id, the caller's own (`X-Request-Id`) or a new one, and logs one line per API request.

The id is in the answer's headers, in problem details and in every log line of the request.
"""

import logging
import re
import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from partners.identifiers import new_id
from partners.models import ApiKey
from recart_hooks.logs import request_id_of_thread
from recart_hooks.paths import is_api

logger = logging.getLogger("api.request")

HEADER = "X-Request-Id"
_OURS_OR_THEIRS = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """Middleware; must come first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get(HEADER, "")
        request_id = given if _OURS_OR_THEIRS.fullmatch(given) else new_id("req")
        request.request_id = request_id  # type: ignore[attr-defined]
        token = request_id_of_thread.set(request_id)
        started = time.perf_counter()
        try:
            response = self._get_response(request)
            if is_api(request.path):
                _log(request, response, (time.perf_counter() - started) * 1000)
        finally:
            request_id_of_thread.reset(token)
        response.headers[HEADER] = request_id
        return response


def _log(request: HttpRequest, response: HttpResponseBase, latency_ms: float) -> None:
    key = getattr(request, "auth", None)
    match = request.resolver_match
    logger.info(
        "request",
        extra={
            "method": request.method,
            "route": match.route if match else "",
            "status": response.status_code,
            "latency_ms": round(latency_ms, 1),
            "key_id": key.pk if isinstance(key, ApiKey) else "",
            "partner_id": (key.partner_id or "") if isinstance(key, ApiKey) else "",
        },
    )
