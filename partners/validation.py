"""Django validators of what partners and staff write. Each error says what is wrong and where.

Most rules are in modules without Django, whose errors become ValidationErrors here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from celery.utils.time import rate
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from partners.addresses import AddressPolicy
from partners.endpoints import check_url
from partners.errors import InvalidInput
from partners.event_schemas import compile_schema
from partners.filters import compile_filter
from partners.json_pointer import pointer
from partners.patterns import check_event_type, check_patterns
from partners.transform import compile_transformation

_CHANGES_DIRECTION = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]{0,4096}")
_OUR_HEADERS = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ]
)
RATE_REGEX = r"[1-9][0-9]{0,6}(\.[0-9]{1,3})?/[smh]"
MAX_HEADERS = 20
MAX_HEADERS_BYTES = 28 * 1024
"""Of names and values. Senders refuse more than 32 KB of headers; ours, with all signatures, take up to 4 KB."""
MAX_ATTEMPTS = 30
LONGEST_DELAY_S = 24 * 3600.0


@contextmanager
def _as_validation_error() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise _refused(str(error), getattr(error, "path", "")) from None


def _refused(message: str, path: str) -> ValidationError:
    """`path`: a JSON pointer into the value, which the API adds to its own."""
    refused = ValidationError(message)
    refused.path = path  # type: ignore[attr-defined]
    return refused


def per_second(rate_limit: str) -> float | None:
    """The rate per second of a limit in Celery's grammar; None for no limit."""
    return float(rate(rate_limit)) if rate_limit else None


def validate_direction(value: str) -> None:
    """For texts that others read in a list: one that turns what follows it around could pretend to be another."""
    if found := _CHANGES_DIRECTION.search(value):
        raise ValidationError(f"U+{ord(found[0]):04X} changes the direction of what is shown after it")


def validate_rate_limit(value: str) -> None:
    if value and not re.fullmatch(RATE_REGEX, value):
        raise ValidationError(
            f"{value!r} is not a rate: write a number per second, minute or hour, such as 50/s, 600/m, 1000/h"
        )


def validate_headers(value: Any) -> None:
    """Extra request headers: an object of strings that cannot inject lines or replace headers of ours."""
    if not isinstance(value, dict):
        raise ValidationError("headers must be an object of names and values")
    if len(value) > MAX_HEADERS:
        raise ValidationError(f"at most {MAX_HEADERS} headers")
    for name, content in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise _wrong_header(name, f"{name!r} is not a header name")
        if name.lower().startswith("webhook-") or name.lower() in _OUR_HEADERS:
            raise _wrong_header(name, f"the header {name!r} is set by us")
        if not isinstance(content, str) or not _HEADER_VALUE.fullmatch(content):
            raise _wrong_header(
                name, f"the value of {name!r} must be printable ASCII of at most 4096 characters, on one line"
            )
    _check_headers_together(value)


def _wrong_header(name: Any, message: str) -> ValidationError:
    return _refused(message, pointer("", str(name)))


def _check_headers_together(headers: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for name in headers:
        if name.lower() in seen:
            raise _wrong_header(name, f"the header {name!r} is given twice: names are not case-sensitive")
        seen.add(name.lower())
    size = sum(len(name) + len(content) for name, content in headers.items())
    if size > MAX_HEADERS_BYTES:
        raise ValidationError(f"the headers have {size} bytes, at most {MAX_HEADERS_BYTES} are allowed")


def validate_retry_schedule(value: Sequence[float] | None) -> None:
    if value is None:
        return
    if len(value) > MAX_ATTEMPTS:
        raise ValidationError(f"at most {MAX_ATTEMPTS} delays")
    if any(not 1 <= delay <= LONGEST_DELAY_S for delay in value):
        raise ValidationError(f"every delay must be between 1 and {LONGEST_DELAY_S:.0f} seconds")


def validate_json(value: str) -> None:
    if not value:
        return
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"not JSON: {error}") from None


def validate_name(value: str) -> None:
    """An event type's name."""
    with _as_validation_error():
        check_event_type(value)


def validate_event_types(value: Sequence[str]) -> None:
    """Names and patterns."""
    with _as_validation_error():
        check_patterns(value)


def validate_filter(value: str) -> None:
    """A filter that compiles."""
    if value:
        with _as_validation_error():
            compile_filter(value)


def validate_transformation(value: str) -> None:
    """A transformation that compiles."""
    if value:
        with _as_validation_error():
            compile_transformation(value)


def validate_mail_address(value: str) -> None:
    """One that is safe in the headers of a message: quoted parts and control characters could end a line there."""
    if '"' in value or not value.isprintable():
        raise ValidationError("expected an e-mail address without quotes and control characters")
    validate_email(value)


def endpoint_policy() -> AddressPolicy:
    """The policy for endpoints, from the settings."""
    return AddressPolicy(
        allow=settings.ENDPOINT_ALLOWED_NETWORKS,
        deny=settings.ENDPOINT_DENIED_NETWORKS,
        schemes=settings.ENDPOINT_SCHEMES,
        ports=settings.ENDPOINT_PORTS,
    )


def validate_endpoint_url(value: str) -> None:
    """A URL that an endpoint may have. The addresses of its host name are checked at every attempt."""
    if value:
        with _as_validation_error():
            check_url(value, endpoint_policy())


def validate_schema(value: str) -> None:
    """A JSON Schema that compiles."""
    if value:
        with _as_validation_error():
            compile_schema(value)
