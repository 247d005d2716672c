"""Celery's remote control (`celery control …`), without the commands that would do harm or nothing here.

A worker answers these with an error that says what to use instead. Celery itself would say *OK*, or end the worker.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from celery.worker.control import Panel

from delivery.publish import EVERY_PARTNER, MAINTENANCE

Command = Callable[..., Any]
Answer = Mapping[str, str]

QUEUES = (EVERY_PARTNER, MAINTENANCE)
_NO_REVOKE = "a delivery cannot be revoked, as PostgreSQL would have it queued again: use `manage.py drain`"
_NO_RESIZE = "a worker keeps its size: start others, with another WORKER_CONCURRENCY"
REFUSED = {
    "revoke": _NO_REVOKE,
    "revoke_by_stamped_headers": _NO_REVOKE,
    "terminate": _NO_REVOKE,
    "rate_limit": "limits belong to partners: set the partner's rate limit or pause it",
    "time_limit": "time limits belong to subscriptions: set the subscription's timeout",
    "pool_grow": _NO_RESIZE,
    "pool_shrink": _NO_RESIZE,
    "pool_restart": _NO_RESIZE,
    "autoscale": _NO_RESIZE,
}


def restrict(commands: dict[str, Command] = Panel.data) -> None:
    """Replaces commands. Their arguments stay those of Celery."""
    for name, reason in REFUSED.items():
        commands[name] = partial(_refuse, reason)
    commands["add_consumer"] = partial(_add_consumer, commands["add_consumer"])


def _refuse(reason: str, *_: Any, **__: Any) -> Answer:
    return {"error": reason}


def _add_consumer(celerys_own: Command, state: Any, queue: str, **options: Any) -> Any:
    """Only for queues that a worker can consume, so that `cancel_consumer` can be undone."""
    if queue not in QUEUES:
        return _refuse(f"workers consume {' and '.join(QUEUES)}, no other queue")
    return celerys_own(state, queue, **options)
