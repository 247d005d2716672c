"""Decides which partners have a label in metrics, so that ten thousand partners do not make a million time series.

Up to `most` partners, each has one. If there are more, the busiest of the last day have one, the same in every process,
looked up every few minutes; all others are counted as `other`. A partner that loses its label loses its series; one
that gets a label starts at zero, which Prometheus treats as a restart. Counts of `other` are never moved.
"""

import logging
import time
from collections.abc import Callable, Sequence

from django.db import Error, connection

logger = logging.getLogger(__name__)

OTHER = "other"
REFRESH_S = 300.0


class PartnerLabels:
    """`busiest(most)` returns the busiest partners' ids. Not thread-safe: the caller holds a lock."""

    def __init__(
        self, most: int, busiest: Callable[[int], Sequence[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._busiest = busiest
        self._clock = clock
        self._named: set[str] = set()
        self._looked_at: float | None = None

    def of(self, partner_id: str) -> str:
        """The partner's id, or `other`."""
        if partner_id in self._named:
            return partner_id
        if len(self._named) < self._most:
            self._named.add(partner_id)
            return partner_id
        return OTHER

    def is_due(self) -> bool:
        """Whether to look up the busiest partners again: only when all labels are in use."""
        if len(self._named) < self._most:
            return False
        return self._looked_at is None or self._clock() - self._looked_at >= REFRESH_S

    def look(self) -> Sequence[str]:
        """Looks up the busiest partners and changes no labels; empty if they cannot be looked up now."""
        self._looked_at = self._clock()
        return self._busiest(self._most)

    def name(self, busiest: Sequence[str]) -> set[str]:
        """Labels these partners, and keeps other labels while there is room. Returns the labels that it removed."""
        chosen = set(busiest[: self._most])
        kept = sorted(self._named - chosen)[: self._most - len(chosen)]
        gone = self._named - chosen - set(kept)
        self._named = chosen | set(kept)
        return gone


def look_up(most: int) -> Sequence[str]:
    """The busiest partners; empty while PostgreSQL is away. Closes the connection, because threads of scrapes end."""
    try:
        return busiest_partners(most)
    except Error as error:
        logger.warning("metrics keep the partners that they name", extra={"error": str(error).strip()[:300]})
        return []
    finally:
        connection.close()


def busiest_partners(most: int) -> Sequence[str]:
    """By attempts of the last 24 full hours, from the roll-ups."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT partner_id FROM delivery_rollup
            WHERE resolution_s = 3600 AND starts_at >= now() - interval '25 hours'
            GROUP BY partner_id ORDER BY sum(attempts) DESC, partner_id LIMIT %s
            """,
            [most],
        )
        return [row[0] for row in cursor.fetchall()]
