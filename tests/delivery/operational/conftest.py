"""A history of attempts, written to the roll-ups of a subscription."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from delivery.rollups import Cell, Key, write
from partners.models import Subscription

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
History = Callable[..., None]


@pytest.fixture
def history(subscription: Subscription) -> History:
    """`history(failed=(1, 2), …)` counts a failed attempt 1 h and another 2 h before NOW."""

    def tell(
        failed: tuple[float, ...] = (),
        succeeded: tuple[float, ...] = (),
        dead: tuple[float, ...] = (),
        of: Subscription = subscription,
        latency_ms: float = 20.0,
    ) -> None:
        cells: dict[Key, Cell] = {}
        for status, hours in (("pending", failed), ("succeeded", succeeded), ("dead", dead)):
            for hour in hours:
                minute = (NOW - timedelta(hours=hour)).replace(second=0, microsecond=0)
                cell = cells.setdefault((minute, of.pk), Cell(of.partner_id))
                cell.count(latency_ms or None, failed=status != "succeeded", status=status)
        write(cells)

    return tell
