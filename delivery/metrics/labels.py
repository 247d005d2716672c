"""Which partners are named in metrics, so that ten thousand partners do not make a million time series.

Up to `most` partners: all of them, at once. Above it: the busiest of the last day, the same ones in every process,
looked up every few minutes; all the others together are `other`. A partner that leaves loses its series, one that
comes in begins at zero, which Prometheus takes for a restart; what was counted as `other` stays there.
"""

import logging
import time
from collections.abc import Callable, Sequence

from django.db import Error, connection

logger = logging.getLogger(__name__)

OTHER = "other"
REFRESH_S = 300.0


class PartnerLabels:
    """`busiest(most)` names the partners that matter. Not thread-safe: its user holds a lock."""

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
        """Whether it is time to look which partners are busy: only once there are more than may be named."""
        if len(self._named) < self._most:
            return False
        return self._looked_at is None or self._clock() - self._looked_at >= REFRESH_S

    def look(self) -> Sequence[str]:
        """Asks, without changing anything yet; empty when it cannot be said now."""
        self._looked_at = self._clock()
        return self._busiest(self._most)

    def name(self, busiest: Sequence[str]) -> set[str]:
        """Names these, and keeps the others as far as there is room. Returns those that are not named any more."""
        chosen = set(busiest[: self._most])
        kept = sorted(self._named - chosen)[: self._most - len(chosen)]
        gone = self._named - chosen - set(kept)
        self._named = chosen | set(kept)
        return gone


def look_up(most: int) -> Sequence[str]:
    """The busiest partners; nothing when PostgreSQL is away. For a thread that ends after it: closes its connection."""
    try:
        return busiest_partners(most)
    except Error as error:
        logger.warning("metrics keep the partners they name", extra={"error": str(error).strip()[:300]})
        return []
    finally:
        connection.close()


def busiest_partners(most: int) -> Sequence[str]:
    """By attempts of the last full day, from the hours' roll-ups."""
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
