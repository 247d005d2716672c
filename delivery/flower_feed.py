"""What Flower sees of deliveries: attempts as they were recorded, as task events, thinned when there are too many.

Celery's own events cost a worker 0.2 ms a task and Flower 0.6 ms, so that Flower would be full at 1,700 tasks/s. Here
each process tells of `per_s` successes a second and of five times as many failures and retries, in one message a
second; what goes beyond that is told as a number: a task named `delivery.deliver (not shown)`, whose result says how
many succeeded and failed. So all that Flower shows happened, and what it does not show, it counts. Nothing is gathered
while nobody listens (Flower turns task events on by remote control).
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

from django.conf import settings
from django.db import Error, close_old_connections

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
    """Celery's event dispatcher, as far as it is used."""

    enabled: bool
    groups: set[str]
    buffer_group: Any
    buffer_limit: int

    def send(self, type: str, **fields: Any) -> Any: ...

    def flush(self) -> None: ...


class FlowerFeed:
    """`add` is told of recorded attempts, `flush` sends them. Thread-safe."""

    def __init__(self, per_s: int, names: "Names | None" = None) -> None:
        self._per_s = per_s
        self._names = names or Names()
        self._dispatcher: Dispatcher | None = None
        self._lock = threading.Lock()
        self._shown: list[AttemptRecord] = []
        self._taken: Counter[bool] = Counter()
        self._more: Counter[bool] = Counter()

    def start(self) -> None:
        """Flushes once a second from now on."""
        threading.Thread(target=self._run, name="flower-feed", daemon=True).start()

    def follow(self, dispatcher: Dispatcher) -> None:
        """Sends through this dispatcher from now on: the worker makes one for each connection."""
        dispatcher.buffer_group = frozenset({"task"})
        dispatcher.buffer_limit = _BUFFER
        self._dispatcher = dispatcher

    @property
    def is_on(self) -> bool:
        """Whether somebody listens to task events."""
        dispatcher = self._dispatcher
        return dispatcher is not None and dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups)

    def add(self, records: Iterable[AttemptRecord]) -> None:
        if not self.is_on:
            return
        with self._lock:
            for record in records:
                succeeded = record.outcome.error is None
                most = self._per_s if succeeded else self._per_s * FAILURES_PER_SUCCESS
                if self._taken[succeeded] < most:
                    self._taken[succeeded] += 1
                    self._shown.append(record)
                else:
                    self._more[succeeded] += 1

    def broke(self, task_id: str, reason: str) -> None:
        """A task that ended in a mistake of ours, with nothing recorded."""
        dispatcher = self._dispatcher
        if dispatcher is not None and self.is_on:
            dispatcher.send("task-failed", uuid=task_id, name=TASK, exception=reason, traceback="")

    def flush(self) -> None:
        """Sends what has gathered; once a second, since what is taken in between is bounded by it."""
        with self._lock:
            shown, self._shown = self._shown, []
            more, self._more = self._more, Counter()
            self._taken = Counter()
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        names = self._names.of({record.partner_id for record in shown})
        for record in shown:
            for type_, fields in events_of(record, names.get(record.partner_id, "")):
                dispatcher.send(type_, **fields)
        if more:
            for type_, fields in events_of_rest(more):
                dispatcher.send(type_, **fields)
        dispatcher.flush()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_S)
            try:
                close_old_connections()
                self.flush()
            except Exception as error:  # what Flower misses must not end the feed
                logger.warning("Flower was told nothing", extra={"error": str(error)[:300]})


def events_of(record: AttemptRecord, partner_name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Received, started, and how it ended, with the times of the attempt itself."""
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


def events_of_rest(more: Mapping[bool, int]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A task that stands for the attempts that are not shown."""
    same = {"uuid": new_id("more"), "name": NOT_SHOWN}
    result = f"{more.get(True, 0)} more succeeded, {more.get(False, 0)} more failed in this second"
    yield "task-received", {**same, "args": result, "kwargs": "{}"}
    yield "task-started", same
    yield "task-succeeded", {**same, "result": result, "runtime": 0.0}


class Names:
    """Names of partners, looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, partner_ids: Iterable[str]) -> Mapping[str, str]:
        unknown = set(partner_ids) - self._known.keys()
        if unknown:
            if len(self._known) > _NAMES_KEPT:
                self._known.clear()
            try:
                self._known.update(Partner.objects.filter(pk__in=unknown).values_list("pk", "name"))
            except Error as error:
                logger.info("names of partners are not known now", extra={"error": str(error).strip()[:300]})
        return self._known


@lru_cache(maxsize=1)
def flower_feed() -> FlowerFeed:
    """This process' one."""
    feed = FlowerFeed(settings.FLOWER_EVENTS_PER_S)
    feed.start()
    return feed
