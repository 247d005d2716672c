"""The base class of all views of the API."""

from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from partners import audit, query_time
from partners.api.authentication import Caller
from partners.api.problems import request_id_of
from partners.api.refusals import Refused
from partners.api.scopes import Scopes
from partners.models import Partner


class ApiView(APIView):
    """`scopes` maps methods to the scopes of keys that may call them; partners.api.scopes has the defaults."""

    scopes: ClassVar[Scopes] = {}
    query_time_s: ClassVar[float] = 5
    """The limit for each SQL statement. A thread that waits for PostgreSQL cannot serve other requests."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Scopes the actor of changes to the request: `initial` replaces the system by the caller."""
        try:
            with audit.acting(audit.SYSTEM):
                return super().dispatch(request, *args, **kwargs)
        finally:
            query_time.free_connection()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        query_time.limit_connection(self.query_time_s)  # first, because authentication queries PostgreSQL too
        super().initial(request, *args, **kwargs)
        if request.META.get("HTTP_TRANSFER_ENCODING"):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "length_required", "send the body with a Content-Length")
        audit.act_as(self.caller.actor(request_id_of(request)))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        for name, value in getattr(request, "rate_headers", {}).items():
            response.headers[name] = value
        return super().finalize_response(request, response, *args, **kwargs)

    @property
    def partner(self) -> Partner:
        """The caller's partner."""
        return self.caller.partner

    @property
    def caller(self) -> Caller:
        return cast("Caller", self.request.user)  # HasScope admits no other user
