"""Counts by minute and subscription, which workers update while they record attempts. The admin, the API and the
operational events read them.

A worker process adds up its counts in memory and writes them once a second, so the number of rows written does not
depend on the number of attempts. If a process is killed, the counts that it had not written yet (of about a second) are
missing here; the attempts themselves are in PostgreSQL.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import Error, connection

from delivery.database import bulk_cursor, with_living_connection
from delivery.histogram import SIZE, bucket_of
from delivery.metrics.process import database_failed
from delivery.recorder import AttemptRecord
from delivery.resolutions import MINUTE_S
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 1.0


@dataclass(slots=True)
class Cell:
    """Counts of one subscription in one minute."""

    partner_id: str
    attempts: int = 0
    failures: int = 0
    succeeded: int = 0
    dead: int = 0
    latency_sum_ms: float = 0.0
    histogram: list[int] = field(default_factory=lambda: [0] * SIZE)

    def count(self, latency_ms: float | None, *, failed: bool, status: str) -> None:
        """Counts an attempt after which its delivery has this status. `latency_ms` is None if nothing was sent."""
        self.attempts += 1
        self.failures += failed
        self.succeeded += status == "succeeded"
        self.dead += status == "dead"
        if latency_ms is not None:
            self.latency_sum_ms += latency_ms
            self.histogram[bucket_of(latency_ms)] += 1

    def merge(self, other: "Cell") -> None:
        self.attempts += other.attempts
        self.failures += other.failures
        self.succeeded += other.succeeded
        self.dead += other.dead
        self.latency_sum_ms += other.latency_sum_ms
        self.histogram = [mine + theirs for mine, theirs in zip(self.histogram, other.histogram, strict=True)]


Key = tuple[datetime, str]
"""The start of the minute, and the subscription's id."""


class Rollups:
    """Counts the attempts that this process records. Thread-safe. `start` starts the thread that writes the counts."""

    def __init__(self) -> None:
        self._cells: dict[Key, Cell] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollups", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes the remaining counts and ends the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def add(self, records: Iterable[AttemptRecord]) -> None:
        with self._lock:
            for record in records:
                key = (record.started_at.replace(second=0, microsecond=0), record.subscription_id)
                cell = self._cells.get(key)
                if cell is None:
                    cell = self._cells[key] = Cell(record.partner_id)
                outcome = record.outcome
                latency_ms = outcome.latency_ms if record.request_headers else None
                cell.count(latency_ms, failed=not outcome.succeeded, status=record.step.status)

    def flush(self) -> int:
        """Writes the cells and returns how many. Raises django.db.Error; then the cells are kept for the next flush."""
        with self._lock:
            cells, self._cells = self._cells, {}
        if not cells:
            return 0
        try:
            with_living_connection(write)(cells)
        except Exception:
            with self._lock:
                for key, cell in cells.items():
                    self._cells.setdefault(key, Cell(cell.partner_id)).merge(cell)
            raise
        return len(cells)

    def _run(self) -> None:
        trouble = Trouble(logger, "roll-ups are not written")
        while True:
            stopping = self._stopping.wait(FLUSH_EVERY_S)
            try:
                self.flush()
            except Error as error:
                connection.close()
                database_failed("rollups")
                trouble.met(error)
            else:
                trouble.over()
            if stopping:
                connection.close()
                return


_WRITE = """
INSERT INTO delivery_rollup AS known
       (resolution_s, starts_at, subscription_id, partner_id, attempts, failures, succeeded, dead, latency_sum_ms,
        histogram)
SELECT %s, starts_at, subscription_id, partner_id, attempts, failures, succeeded, dead, latency_sum_ms, histogram::int[]
FROM unnest(%b::timestamptz[], %b::text[], %b::text[], %b::int[], %b::int[], %b::int[], %b::int[], %b::float8[],
            %b::text[])
     AS batch (starts_at, subscription_id, partner_id, attempts, failures, succeeded, dead, latency_sum_ms, histogram)
ORDER BY starts_at, subscription_id
ON CONFLICT (resolution_s, starts_at, subscription_id) DO UPDATE SET
    attempts = known.attempts + excluded.attempts,
    failures = known.failures + excluded.failures,
    succeeded = known.succeeded + excluded.succeeded,
    dead = known.dead + excluded.dead,
    latency_sum_ms = known.latency_sum_ms + excluded.latency_sum_ms,
    histogram = ARRAY(SELECT mine + theirs FROM unnest(known.histogram, excluded.histogram) AS pair (mine, theirs))
"""


def write(cells: dict[Key, Cell]) -> None:
    """Adds the cells to the stored roll-ups."""
    rows = [
        (
            starts_at,
            subscription_id,
            cell.partner_id,
            cell.attempts,
            cell.failures,
            cell.succeeded,
            cell.dead,
            cell.latency_sum_ms,
            f"{{{str(cell.histogram)[1:-1]}}}",
        )
        for (starts_at, subscription_id), cell in cells.items()
    ]
    with bulk_cursor() as cursor:
        cursor.execute(_WRITE, [MINUTE_S, *(list(column) for column in zip(*rows, strict=True))])
