"""Which keys may do what: every view says it in one line, and nothing is open that does not say so."""

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
"""Per method; what is not there is by the default: partners' keys write, read-only ones read."""


class HasScope(BasePermission):
    """Lets a key in whose scope the view names for this method (`scopes`)."""

    message = "this API key's scope does not allow that"

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False  # no key: answered 401, with how to authenticate
        return request.auth.scope in allowed_scopes(view, request.method or "")


def allowed_scopes(view: Any, method: str) -> frozenset[str]:
    own: Scopes = getattr(view, "scopes", {})
    if method in own:
        return frozenset(own[method])
    if method in SAFE_METHODS:
        return frozenset(own["GET"]) if "GET" in own else PARTNER_READS
    return PARTNER_WRITES
