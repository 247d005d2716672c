"""Disables subscriptions whose endpoints asked for it (status 410).

Each partner has a task of delivery.turns, since another transaction may lock a subscription's row for long. All of a
partner are disabled together: a thousand, one by one, kept others waiting for the threads of delivery.database.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from delivery.passing import patiently
from delivery.recorder import AttemptRecord
from delivery.turns import Turns

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 200


class Gone:
    """`disable` is that of delivery.stages. For the thread of `turns`."""

    def __init__(self, turns: Turns, disable: Callable[[Sequence[AttemptRecord]], None]) -> None:
        self._turns = turns
        self._disable = disable
        self._waiting: dict[str, dict[str, AttemptRecord]] = {}
        """By partner, while there is a task for it, and by subscription."""

    def add(self, made: AttemptRecord) -> None:
        """Disables the attempt's subscription, once."""
        waiting = self._waiting.get(made.partner_id)
        if waiting is None:
            waiting = self._waiting[made.partner_id] = {}
            self._turns.branch(partial(self._work_off, made.partner_id, waiting))
        waiting.setdefault(made.subscription_id, made)

    def _work_off(self, partner_id: str, waiting: dict[str, AttemptRecord]) -> None:
        try:
            while waiting:
                batch = list(waiting.values())[:MOST_AT_ONCE]
                try:
                    patiently("disabling subscriptions waits for PostgreSQL", self._disable, batch)
                except Exception:
                    logger.exception("subscriptions were not disabled")
                for made in batch:
                    del waiting[made.subscription_id]
        finally:
            del self._waiting[partner_id]
