"""Selects rows by the time of creation with the primary key, since identifiers contain that time."""

from datetime import datetime, timedelta

from django.db.models import Q

from partners.identifiers import first_id

ID_SLACK = timedelta(minutes=10)
"""An id is made shortly before the time in its row, perhaps by a clock that differs a little."""


def made_between(prefix: str, column: str, since: datetime | None, until: datetime | None) -> Q:
    """From `since` to before `until`; either may be None. `column` has the exact time, and needs no index."""
    condition = Q()
    if since is not None:
        condition &= Q(pk__gte=first_id(prefix, since - ID_SLACK), **{f"{column}__gte": since})
    if until is not None:
        condition &= Q(pk__lt=first_id(prefix, until + ID_SLACK), **{f"{column}__lt": until})
    return condition
