"""Middleware for security: content security policies, NUL characters in requests, the actor of admin changes.

The admin runs on Alpine.js and htmx, whose expressions in attributes need `unsafe-eval`; its templates hold a few
inline scripts. The API's pages need neither. None of our pages may be framed.
See docs/adr/0043-content-security-policy.md.
"""

from collections.abc import Callable, Iterator

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from partners import audit
from partners.api.problems import request_id_of
from recart_hooks.paths import is_admin

_BASE = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self' data:; style-src 'self' 'unsafe-inline'; connect-src 'self'"
)
API_POLICY = f"{_BASE}; script-src 'self'"
ADMIN_POLICY = f"{_BASE}; script-src 'self' 'unsafe-inline' 'unsafe-eval'"


class ContentSecurityPolicy:
    """Middleware: adds the policies to every answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", ADMIN_POLICY if is_admin(request.path) else API_POLICY)
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
        return response


class NoNul:
    """Middleware: refuses admin requests, and all cookies, that hold a NUL: PostgreSQL's text cannot hold one.

    Few admin views check, and any page may look up the session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if any("\0" in text for text in _texts(request)):
            raise BadRequest("a NUL character")
        return self._get_response(request)


def _texts(request: HttpRequest) -> Iterator[str]:
    yield from request.COOKIES.values()
    if not is_admin(request.path):
        return
    yield request.path
    for name, values in (*request.GET.lists(), *request.POST.lists()):
        yield name
        yield from map(str, values)


class StaffActor:
    """Middleware, after authentication: the audit log names the member of staff who changes something in the admin."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_admin(request.path) or not request.user.is_authenticated:
            return self._get_response(request)
        actor = audit.Actor(
            audit.KINDS.STAFF, str(request.user.pk), request.user.get_username(), request_id_of(request)
        )
        with audit.acting(actor):
            return self._get_response(request)
