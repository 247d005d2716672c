"""Lists of large tables: a page starts after the last key of the page before, without OFFSET and without a count.

So every page costs the same. A query that takes longer than `query_timeout_s` is cancelled, and staff are asked to
narrow the search: an admin page must not slow deliveries down.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from partners.admin.base import ChangeList, StaffAdmin
from partners.query_time import TooSlow, limited

OLDER, NEWER = "older", "newer"
_SEPARATOR = "~"

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class KeysetPages:
    """The variables of the pager's template."""

    newer: str
    older: str
    newest: str
    about: str
    template_name: str = "partners/admin/keyset_pages.html"


class KeysetChangeList(ChangeList):
    """Orders by `model_admin.keyset`, newest first: columns that are unique together and have an index."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        for name in (OLDER, NEWER):
            self.filter_params.pop(name, None)
        return super().get_queryset(request, *args, **kwargs)

    def get_results(self, request: HttpRequest) -> None:
        cursor = {name: self.params[name] for name in (OLDER, NEWER) if self.params.get(name)}
        if len(cursor) > 1:
            raise IncorrectLookupParameters
        rows, more = self._page(request, cursor)
        has_newer, has_older = (more, True) if NEWER in cursor else (OLDER in cursor, more)
        self.result_list = rows
        self.result_count = len(rows)
        self.full_result_count = len(rows)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = False
        self.multi_page = False
        self.paginator = KeysetPages(
            newer=self.get_query_string({NEWER: self._key(rows[0])}) if rows and has_newer else "",
            older=self.get_query_string({OLDER: self._key(rows[-1])}) if rows and has_older else "",
            newest=self.get_query_string() if cursor else "",
            about=self._about(),
        )

    def _about(self) -> str:
        rows = estimated_rows(self.model) if not self.has_active_filters and not self.query else None
        return f"about {rows:,} in all" if rows else ""

    def _page(self, request: HttpRequest, cursor: dict[str, str]) -> tuple[list[Any], bool]:
        """The page's rows, newest first, and whether there are more in the direction of the cursor."""
        backwards = NEWER in cursor
        timeout_s = self.model_admin.query_timeout_s  # type: ignore[attr-defined]
        fields = self.model_admin.keyset  # type: ignore[attr-defined]
        wanted = self.queryset.order_by(*(name if backwards else f"-{name}" for name in fields))
        for value in cursor.values():
            wanted = wanted.filter(self._beyond(value, "gt" if backwards else "lt"))
        try:
            with limited(timeout_s):
                rows = list(wanted[: self.list_per_page + 1])
        except TooSlow:
            messages.warning(
                request,
                f"This search takes longer than {timeout_s:g} s: narrow it down by time, partner or subscription.",
            )
            return [], False
        more = len(rows) > self.list_per_page
        rows = rows[: self.list_per_page]
        return (rows[::-1] if backwards else rows), more

    def _key(self, row: Any) -> str:
        values = (getattr(row, name) for name in self.model_admin.keyset)  # type: ignore[attr-defined]
        return _SEPARATOR.join(value.isoformat() if hasattr(value, "isoformat") else str(value) for value in values)

    def _beyond(self, cursor: str, comparison: str) -> Q:
        """The condition that (a, b) is beyond (x, y), in a form that can also use an index on `a` alone."""
        fields = self.model_admin.keyset  # type: ignore[attr-defined]
        texts = cursor.split(_SEPARATOR, len(fields) - 1)
        try:
            values = [
                self.lookup_opts.get_field(name).to_python(text)  # type: ignore[union-attr]
                for name, text in zip(fields, texts, strict=True)
            ]
        except (ValueError, ValidationError) as error:
            raise IncorrectLookupParameters(error) from error
        beyond = Q(**{f"{fields[-1]}__{comparison}": values[-1]})
        for name, value in zip(fields[-2::-1], values[-2::-1], strict=True):
            beyond = Q(**{f"{name}__{comparison}e": value}) & (
                Q(**{f"{name}__{comparison}": value}) | Q(**{name: value}) & beyond
            )
        return beyond


class KeysetAdmin(StaffAdmin[Row]):
    """The admin of a large table. Its list is ordered by `keyset`, newest first."""

    keyset: ClassVar[tuple[str, ...]] = ("id",)
    query_timeout_s: ClassVar[float] = 5
    sortable_by = ()
    show_full_result_count = False
    list_disable_select_all = True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList


def estimated_rows(model: type[Model]) -> int | None:
    """PostgreSQL's estimate of the number of rows, by the last VACUUM or ANALYZE; None if there is none yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [model._meta.db_table])
        row = cursor.fetchone()
    return row[0] if row and row[0] >= 0 else None
