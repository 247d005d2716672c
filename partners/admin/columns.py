"""Columns that many lists and pages have: times, identifiers and links to related objects."""

from collections.abc import Callable
from typing import Any

from django.db.models import Model
from django.utils.safestring import SafeString
from unfold.decorators import display

from partners.admin.base import link
from partners.admin.looks import moment, short

Column = Callable[[Any, Any], SafeString]
"""A method of an admin class."""


def time_column(field: str, title: str, *, empty: str = "-", ordering: str | None = None) -> Column:
    return _column(title, lambda obj: moment(getattr(obj, field), empty), ordering)


def link_column(field: str, title: str, *, ordering: str | None = None) -> Column:
    def show(obj: Model) -> SafeString:
        other: Model | None = getattr(obj, field)
        return link(other) if other is not None else SafeString("-")

    return _column(title, show, ordering)


def id_column() -> Column:
    return _column("Id", lambda obj: short(obj.pk))


def _column(title: str, show: Callable[[Any], SafeString], ordering: str | None = None) -> Column:
    @display(description=title, ordering=ordering)
    def column(_: Any, obj: Any) -> SafeString:
        return show(obj)

    shown: Column = column
    return shown
