"""Limits queries whose cost depends on the amount of data: quick ones always run, slow ones only in a free place.

A slow query holds a thread of the web process and resources of PostgreSQL. In each process a partner runs one at a
time, and all partners together hold at most a quarter of the threads, so that publishing always finds one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

from django.conf import settings

from partners.api.refusals import Refused
from partners.places import Busy, Places
from partners.query_time import TooSlow, limited

QUICK_S = 0.25
LONGEST_S = 5.0
slow_questions = Places(max(1, settings.WEB_THREADS // 4))
"""The places for slow queries in this process."""
previews = Places(max(1, settings.WEB_THREADS // 4))
"""The places for previews: the largest event with the most work allowed takes a second or two of our CPU."""

Answer = TypeVar("Answer")


def ask(partner_id: str, question: Callable[[], Answer]) -> Answer:
    """Runs the query, and once more with more time if it is not quick. Raises Refused or TooSlow."""
    try:
        with limited(QUICK_S):
            return question()
    except TooSlow:
        pass
    with one_at_a_time(partner_id), limited(LONGEST_S):
        return question()


@contextmanager
def one_at_a_time(partner_id: str, places: Places = slow_questions) -> Iterator[None]:
    """Holds a place for slow work. Raises Refused if there is none."""
    with refused_if_busy("other requests that may take long"), places.taken(partner_id):
        yield


@contextmanager
def refused_if_busy(others: str) -> Iterator[None]:
    """Turns Busy into Refused."""
    try:
        yield
    except Busy:
        detail = f"{others} are under way; try again in a moment"
        raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "busy", detail, {"Retry-After": "2"}) from None
