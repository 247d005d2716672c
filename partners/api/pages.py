"""Lists in pages, by a cursor that says where the page before ended.

A cursor is opaque, not secret: the rows are filtered by the caller's partner anyway. Pages do not shift when rows are
added, and the thousandth page costs the same as the first.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners.api.problems import places_of
from partners.api.refusals import Invalid

DEFAULT_LIMIT, MAX_LIMIT = 50, 250
_CURSOR_MAX = 300
_DIGITS = re.compile("[0-9]+")
VISIBLE = "^[!-~]+$"
"""Ids and names in a query: ASCII without spaces and control characters."""

Row = TypeVar("Row", bound=Model)


class Query(serializers.Serializer[Any]):
    """The query parameters. Unknown ones are refused: a misspelt filter must not be ignored."""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        given = request.query_params
        known: list[str] = list(cls().fields)
        places = [{"parameter": name[:100], "detail": "unknown"} for name in given if name not in known]
        places += [{"parameter": name, "detail": "given twice"} for name in known if len(given.getlist(name)) > 1]
        query = cls(data=given.dict())
        if not query.is_valid():
            found = places_of(query.errors)
            places += [{"parameter": one["pointer"].split("/")[-1], "detail": one["detail"]} for one in found]
        if places:
            raise Invalid(places)
        return dict(query.validated_data)


class Count(serializers.IntegerField):
    """An integer in ASCII digits: Python's `int` also accepts `1_0` and the digits of other scripts."""

    def to_internal_value(self, data: Any) -> int:
        if not _DIGITS.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class PageQuery(Query):
    limit = Count(
        min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT, help_text="The largest number of items on the page."
    )
    cursor = serializers.RegexField(
        "^[A-Za-z0-9_-]+$",
        required=False,
        max_length=_CURSOR_MAX,
        help_text="The `next_cursor` of the page before. Use it with the same filters.",
    )


def page(
    rows: "QuerySet[Row]",
    query: Mapping[str, Any],
    shape: Callable[[Sequence[Row]], Any],
    *,
    key: str = "id",
    kind: type[str] | type[int] = str,
    ascending: bool = False,
    ask: Callable[[Callable[[], list[Row]]], list[Row]] = lambda question: question(),
) -> Response:
    """The page that `query` asks for, ordered by `key`, a unique column of type `kind`. `ask` runs the query."""
    ordered = rows.order_by(key if ascending else f"-{key}")
    if cursor := query.get("cursor"):
        ordered = ordered.filter(**{f"{key}__{'gt' if ascending else 'lt'}": read_cursor(cursor, kind)})
    limit = query["limit"]
    found = ask(lambda: list(ordered[: limit + 1]))
    more = len(found) > limit
    found = found[:limit]
    next_cursor = make_cursor(getattr(found[-1], key)) if more else None
    return Response({"items": shape(found), "next_cursor": next_cursor})


def make_cursor(last: str | int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([last])).decode().rstrip("=")


def read_cursor(cursor: str, kind: type[str] | type[int]) -> str | int:
    try:
        (last,) = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(last, kind) and make_cursor(last) == cursor and "\0" not in str(last):
            return last
    except (ValueError, TypeError, binascii.Error):
        pass
    raise Invalid([{"parameter": "cursor", "detail": "not the next_cursor of a page"}], status=HTTPStatus.NOT_FOUND)
