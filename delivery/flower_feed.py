"""Sends task events of recorded attempts to Flower, only some of them when there are many.

Celery's own events take 0.2 ms of a worker and 0.6 ms of Flower for each task, so Flower would be saturated at 1,700
tasks/s. Here each process sends the events of at most `per_s` successes a second, and of five times as many failures
and retries, once a second. The other attempts are counted: a task named `delivery.deliver (not shown)` says in its
result how many succeeded and failed. Nothing is collected while task events are off (Flower turns them on by remote
control).
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

from django.conf import settings
from django.db import Error

from delivery.database import with_living_connection
from delivery.publish import TASK
from delivery.recorder import AttemptRecord
from partners.identifiers import new_id
from partners.models import Partner

logger = logging.getLogger(__name__)

NOT_SHOWN = f"{TASK} (not shown)"
FAILURES_PER_SUCCESS = 5
EVERY_S = 1.0
_NAMES_KEPT = 10_000
_BUFFER = 5_000


class Dispatcher(Protocol):
    """The part of Celery's event dispatcher that is used here."""

    enabled: bool
    groups: set[str]
    buffer_group: Any
    buffer_limit: int

    def send(self, type: str, **fields: Any) -> Any: ...

    def flush(self) -> None: ...


class FlowerFeed:
    """`add` collects recorded attempts, `flush` sends their events. Thread-safe."""

    def __init__(self, per_s: int, names: "Names | None" = None) -> None:
        self._per_s = per_s
        self._names = names or Names()
        self._dispatcher: Dispatcher | None = None
        self._lock = threading.Lock()
        self._shown: list[AttemptRecord] = []
        self._shown_count: Counter[bool] = Counter()
        self._not_shown: Counter[bool] = Counter()
        """Attempts since the last flush, by whether they succeeded."""

    def start(self) -> None:
        """Starts a thread that flushes once a second."""
        threading.Thread(target=self._run, name="flower-feed", daemon=True).start()

    def follow(self, dispatcher: Dispatcher) -> None:
        """Sends through this dispatcher from now on. The worker has a new one for each connection."""
        dispatcher.buffer_group = frozenset({"task"})
        dispatcher.buffer_limit = _BUFFER
        self._dispatcher = dispatcher

    @property
    def is_on(self) -> bool:
        """Whether task events are on."""
        dispatcher = self._dispatcher
        return dispatcher is not None and dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups)

    def add(self, records: Iterable[AttemptRecord]) -> None:
        if not self.is_on:
            return
        with self._lock:
            for record in records:
                succeeded = record.outcome.error is None
                most = self._per_s if succeeded else self._per_s * FAILURES_PER_SUCCESS
                if self._shown_count[succeeded] < most:
                    self._shown_count[succeeded] += 1
                    self._shown.append(record)
                else:
                    self._not_shown[succeeded] += 1

    def task_failed(self, task_id: str, reason: str) -> None:
        """Sends the event of a task that failed by an error of ours, without a recorded attempt."""
        dispatcher = self._dispatcher
        if dispatcher is not None and self.is_on:
            dispatcher.send("task-failed", uuid=task_id, name=TASK, exception=reason, traceback="")

    def flush(self) -> None:
        """Sends the collected events. Must be called once a second: `per_s` counts from one flush to the next."""
        with self._lock:
            shown, self._shown = self._shown, []
            not_shown, self._not_shown = self._not_shown, Counter()
            self._shown_count = Counter()
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        names = self._names.of({record.partner_id for record in shown})
        for record in shown:
            for type_, fields in events_of(record, names.get(record.partner_id, "")):
                dispatcher.send(type_, **fields)
        if not_shown:
            for type_, fields in events_of_not_shown(not_shown):
                dispatcher.send(type_, **fields)
        dispatcher.flush()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_S)
            try:
                self.flush()
            except Exception as error:  # the thread must go on
                logger.warning("task events were not sent to Flower", extra={"error": str(error)[:300]})


def events_of(record: AttemptRecord, partner_name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The events of one attempt, as a task that was received, started and ended, with the attempt's times."""
    uuid, name = f"{record.delivery_id}:{record.number}", f"{TASK} {record.event_type}"
    started, took_s = record.started_at.timestamp(), record.outcome.latency_ms / 1000
    args = f"{partner_name or '-'}, attempt {record.number}, {record.delivery_id}, {record.partner_id}"
    same = {"uuid": uuid, "name": name}
    yield "task-received", {**same, "args": args, "kwargs": "{}", "retries": record.number - 1, "timestamp": started}
    yield "task-started", {**same, "timestamp": started}
    ended = {**same, "timestamp": started + took_s, "runtime": took_s}
    if record.step.status == "succeeded":
        yield "task-succeeded", {**ended, "result": f"{record.outcome.status_code}"}
    else:
        type_ = "task-failed" if record.step.status == "dead" else "task-retried"
        yield type_, {**ended, "exception": record.outcome.detail, "traceback": ""}


def events_of_not_shown(counts: Mapping[bool, int]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The events of a task that stands for all attempts that are not shown."""
    same = {"uuid": new_id("more"), "name": NOT_SHOWN}
    result = f"{counts.get(True, 0)} more succeeded, {counts.get(False, 0)} more failed in this second"
    yield "task-received", {**same, "args": result, "kwargs": "{}"}
    yield "task-started", same
    yield "task-succeeded", {**same, "result": result, "runtime": 0.0}


class Names:
    """Names of partners, kept in memory."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, partner_ids: Iterable[str]) -> Mapping[str, str]:
        unknown = set(partner_ids) - self._known.keys()
        if unknown:
            if len(self._known) > _NAMES_KEPT:
                self._known.clear()
            try:
                self._known.update(with_living_connection(_read_names)(unknown))
            except Error as error:
                logger.info("partner names for Flower are not available", extra={"error": str(error).strip()[:300]})
        return self._known


def _read_names(partner_ids: Collection[str]) -> dict[str, str]:
    return dict(Partner.objects.filter(pk__in=partner_ids).values_list("pk", "name"))


@lru_cache(maxsize=1)
def flower_feed() -> FlowerFeed:
    """The process' feed, which it starts."""
    feed = FlowerFeed(settings.FLOWER_EVENTS_PER_S)
    feed.start()
    return feed
