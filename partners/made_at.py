"""Rows by the time they were made, which their identifiers carry: the primary key finds the range."""

from datetime import datetime, timedelta

from django.db.models import Q

from partners.identifiers import first_id

ID_SLACK = timedelta(minutes=10)
"""An id is made shortly before its row; by clocks that differ a little."""


def made_between(prefix: str, column: str, since: datetime | None, until: datetime | None) -> Q:
    """From `since` to before `until`; either may be None. `column` has the exact time, and needs no index."""
    condition = Q()
    if since is not None:
        condition &= Q(pk__gte=first_id(prefix, since - ID_SLACK), **{f"{column}__gte": since})
    if until is not None:
        condition &= Q(pk__lt=first_id(prefix, until + ID_SLACK), **{f"{column}__lt": until})
    return condition
