"""Metrics of any process, in the registry that its port serves: batches, errors, maintenance, the build.

They are updated once for each batch, error or maintenance run, never for each task.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import Error
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

Item = TypeVar("Item")
Answer = TypeVar("Answer")

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_BATCH_SECONDS = Histogram(
    "recart_hooks_batch_duration_seconds",
    "Time that a batch took: loading deliveries, recording attempts (a commit), storing events (a commit).",
    ["batch"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
_BATCH_ITEMS = Histogram(
    "recart_hooks_batch_items",
    "Size of a batch: attempts, deliveries or messages.",
    ["batch"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
    registry=REGISTRY,
)
_DATABASE_ERRORS = Counter(
    "recart_hooks_database_errors", "Statements that PostgreSQL did not carry out.", ["part"], registry=REGISTRY
)
_BROKER_ERRORS = Counter(
    "recart_hooks_broker_errors", "Commands that Valkey did not carry out.", ["part"], registry=REGISTRY
)
_BROKER_CONNECTIONS = Counter(
    "recart_hooks_broker_connections",
    "Connections to the broker that this worker made. It grows when one was lost.",
    registry=REGISTRY,
)
_MAINTENANCE_AT = Gauge(
    "recart_hooks_maintenance_success_timestamp_seconds",
    "When a maintenance task last succeeded in this process, in Unix seconds.",
    ["task"],
    registry=REGISTRY,
)
_BUILD = Gauge(
    "recart_hooks_build_info",
    "Always 1; the labels are the kind of process and its version.",
    ["process", "version"],
    registry=REGISTRY,
)


def timed(batch: str, work: Callable[[Sequence[Item]], Answer]) -> Callable[[Sequence[Item]], Answer]:
    """Wraps `work` to measure it. Errors of PostgreSQL are counted and raised again."""
    seconds, items_ = _BATCH_SECONDS.labels(batch), _BATCH_ITEMS.labels(batch)
    errors = _DATABASE_ERRORS.labels(batch)

    def run(items: Sequence[Item]) -> Answer:
        started = time.perf_counter()
        try:
            return work(items)
        except Error:
            errors.inc()
            raise
        finally:
            seconds.observe(time.perf_counter() - started)
            items_.observe(len(items))

    return run


def database_failed(part: str) -> None:
    _DATABASE_ERRORS.labels(part).inc()


def broker_failed(part: str) -> None:
    _BROKER_ERRORS.labels(part).inc()


def broker_connected() -> None:
    _BROKER_CONNECTIONS.inc()


def maintenance_succeeded(task: str) -> None:
    _MAINTENANCE_AT.labels(task).set_to_current_time()


def set_build_info(process: str, version: str) -> None:
    _BUILD.labels(process, version).set(1)
