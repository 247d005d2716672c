"""Questions whose price is how much there is to look through: the quick are answered as they come, the slow one by one.

A slow one holds a thread of the web process and a part of PostgreSQL. Each partner has one of them at a time in a
process, and all partners together hold a quarter of its threads, so that who publishes always finds one.
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
"""This process' ones."""
previews = Places(max(1, settings.WEB_THREADS // 4))
"""The same for what takes our own time: the largest event and the most work allowed are a second or two of it."""

Answer = TypeVar("Answer")


def ask(partner_id: str, question: Callable[[], Answer]) -> Answer:
    """Asks once more, with more time, what is not quick. Raises Refused or TooSlow."""
    try:
        with limited(QUICK_S):
            return question()
    except TooSlow:
        pass
    with one_at_a_time(partner_id), limited(LONGEST_S):
        return question()


@contextmanager
def one_at_a_time(partner_id: str, places: Places = slow_questions) -> Iterator[None]:
    """For what may be slow. Raises Refused."""
    try:
        with places.taken(partner_id):
            yield
    except Busy:
        detail = "other requests that may take long are under way; try again in a moment"
        raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "busy", detail, {"Retry-After": "2"}) from None
