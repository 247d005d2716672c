"""Authenticates API requests by `Authorization: Bearer rk_…`."""

import base64
import binascii
from dataclasses import dataclass

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from partners import audit
from partners.api.bodies import wants_page
from partners.keys import find_key, mark_used
from partners.models import ApiKey, Partner

_INVALID = "this API key is unknown, expired or revoked"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by the API key. It is the `request.user` of every authenticated request."""

    key: ApiKey
    is_authenticated: bool = True

    def __str__(self) -> str:
        return str(self.key)

    @property
    def pk(self) -> str:
        return self.key.pk

    @property
    def partner(self) -> Partner:
        """The partner that the key belongs to. Scopes keep keys without a partner from the views that ask for it."""
        if self.key.partner is None:
            raise LookupError("this key belongs to no partner")
        return self.key.partner

    def actor(self, request_id: str) -> audit.Actor:
        return audit.Actor(audit.KINDS.KEY, self.key.pk, self.key.name, request_id)


class Bearer(BaseAuthentication):
    """An API key as a bearer token.

    Browsers, which can't send one, may send the key as the password of HTTP Basic, but only to read (GET and HEAD):
    credentials that a browser adds by itself must not authenticate changes.
    """

    def authenticate(self, request: Request) -> tuple[Caller, ApiKey] | None:
        scheme, _, credentials = get_authorization_header(request).partition(b" ")
        if not scheme:
            return None
        token = _token(scheme.lower(), credentials.strip(), is_safe=request.method in {"GET", "HEAD"})
        key = find_key(token)
        if key is None:
            raise AuthenticationFailed(_INVALID)
        mark_used(key)
        return Caller(key), key

    def authenticate_header(self, request: HttpRequest | Request) -> str:
        is_browser = wants_page(request)
        return 'Basic realm="API key as password", charset="UTF-8"' if is_browser else 'Bearer realm="api"'


def _token(scheme: bytes, credentials: bytes, *, is_safe: bool) -> str:
    try:
        if scheme == b"bearer":
            return credentials.decode("ascii")
        if scheme == b"basic" and is_safe:
            return base64.b64decode(credentials, validate=True).decode("ascii").partition(":")[2]
    except (UnicodeDecodeError, binascii.Error):
        raise AuthenticationFailed(_INVALID) from None
    raise AuthenticationFailed("send the API key as `Authorization: Bearer rk_…`")
