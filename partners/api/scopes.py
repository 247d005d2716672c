"""Which keys may call which views. Only partners' keys may, unless a view names other scopes."""

from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from partners.models import ApiKey

PARTNER, READ_ONLY = ApiKey.Scope.PARTNER, ApiKey.Scope.READ_ONLY
PRODUCER, CATALOGUE = ApiKey.Scope.PRODUCER, ApiKey.Scope.CATALOGUE
PARTNER_READS: frozenset[str] = frozenset([PARTNER, READ_ONLY])
PARTNER_WRITES: frozenset[str] = frozenset([PARTNER])
EVERYBODY: frozenset[str] = frozenset([PARTNER, READ_ONLY, PRODUCER, CATALOGUE])
PRODUCERS: frozenset[str] = frozenset([PRODUCER])
CATALOGUERS: frozenset[str] = frozenset([CATALOGUE])

Scopes = Mapping[str, Iterable[str]]
"""Scopes by method. The default: keys of the scopes `partner` and `read_only` read, and `partner` also writes."""


class HasScope(BasePermission):
    """Admits a key whose scope the view allows for the method."""

    message = ""
    """Why not. REST framework makes a permission for each request, and reads it from there."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False  # without a key; REST framework answers 401
        scope, allowed = request.auth.scope, allowed_scopes(view, request.method or "")
        needed = " or ".join(f"`{one}`" for one in sorted(allowed))
        self.message = f"this API key has the scope `{scope}`: {request.method} needs {needed} here"
        return scope in allowed


def allowed_scopes(view: Any, method: str) -> frozenset[str]:
    own: Scopes = getattr(view, "scopes", {})
    if method in own:
        return frozenset(own[method])
    if method in SAFE_METHODS:
        return frozenset(own["GET"]) if "GET" in own else PARTNER_READS
    return PARTNER_WRITES
