"""Exceptions with which views refuse requests. partners.api.problems makes the answers."""

from collections.abc import Mapping
from http import HTTPStatus

from rest_framework.exceptions import APIException


class Refused(APIException):
    """Refuses a request with a status, a problem code and a detail."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail, code)
        self.status_code = int(status)
        self.headers = dict(headers or {})


class Invalid(APIException):
    """The request is wrong at these places: `{"pointer" | "parameter" | "header": …, "detail": …}`."""

    status_code = 400
    default_code = "invalid"

    def __init__(self, places: list[dict[str, str]], status: int = 400) -> None:
        super().__init__("the request is not valid; see errors")
        self.places = places
        self.status_code = status
