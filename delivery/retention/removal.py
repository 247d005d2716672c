"""Removes old rows in small transactions.

After each transaction it pauses for as long as the transaction took, so it keeps PostgreSQL busy half of the time at
most. A lock that it cannot get within a second ends the run, and the next run continues. The tables take turns, and
each run continues where the last one ended: old rows that must stay, such as pending deliveries of a paused partner,
are looked at once in a pass through the table, not by every run. The archive hook (a function named by the setting
ARCHIVE_HOOK) gets the rows before the transaction commits; if it raises, they stay.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from delivery.retention.tables import Table
from partners.identifiers import DELIVERY, first_id

logger = logging.getLogger(__name__)

BATCH = 2_000

Archive = Callable[[str, Sequence[Mapping[str, Any]]], None]
"""Called with the table's name and its rows, within the transaction that removes them."""

Reached = MutableMapping[str, Sequence[Any]]
"""The position after which the next page starts, by the table's name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of this table are removed when they are older than `kept`."""

    table: Table
    kept: timedelta


@dataclass(frozen=True, slots=True)
class Remover:
    """Makes one run over all rules, of about `budget_s` seconds at most. Raises django.db.Error."""

    archive: Archive | None = None
    batch: int = BATCH
    budget_s: float = 240.0
    turn_s: float = 10.0
    """How long a table's turn is."""
    reached: Reached = field(default_factory=dict)
    rest: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def run(self, rules: Iterable[Rule], now: datetime) -> dict[str, int]:
        """Returns how many rows of each table were removed."""
        ends = self.clock() + self.budget_s
        removed: dict[str, int] = {}
        unfinished = list(rules)
        while unfinished and (started := self.clock()) < ends:
            turn_ends = min(started + self.turn_s, ends)
            rule = unfinished.pop(0)
            if not self._remove_some(rule.table, now - rule.kept, turn_ends, removed):
                unfinished.append(rule)
        if any(removed.values()):
            logger.info("removed old rows", extra={"removed": removed})
        return removed

    def _remove_some(self, table: Table, before: datetime, ends: float, removed: dict[str, int]) -> bool:
        """Returns whether it reached the end of the old rows; if so, the next run starts with the oldest again."""
        while self.clock() < ends:
            started = self.clock()
            position = self._remove_page(table, before, self.reached.get(table.name, table.start), removed)
            if position is None:
                self.reached.pop(table.name, None)
                return True
            self.reached[table.name] = position
            self.rest(self.clock() - started)
        return False

    def _remove_page(
        self, table: Table, before: datetime, after: Sequence[Any], removed: dict[str, int]
    ) -> Sequence[Any] | None:
        """Returns the position at the end of this page, or None if the page is empty."""
        values = {f"after_{place}": value for place, value in enumerate(after)}
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1s'")
            cursor.execute("SET LOCAL synchronous_commit = off")  # a crash only repeats the removal (and archiving)
            names = {**values, "before": before, "bound": first_id(DELIVERY, before), "size": self.batch}
            cursor.execute(table.page, names)
            rows = cursor.fetchall()
            if not rows:
                return None
            names["keys"] = [row[0] for row in rows]
            if table.choose:
                cursor.execute(table.choose, names)
                names["keys"] = [row[0] for row in cursor.fetchall()]
            for name, statement in table.delete:
                removed[name] = removed.get(name, 0) + self._delete(cursor, name, statement, names)
        return tuple(rows[-1][1:])

    def _delete(self, cursor: Any, name: str, statement: str, values: Mapping[str, Any]) -> int:
        if self.archive is None:
            cursor.execute(statement, values)
            return int(cursor.rowcount)
        cursor.execute(f"{statement} RETURNING *", values)
        columns = [column.name for column in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        if rows:
            self.archive(name, rows)
        return len(rows)
