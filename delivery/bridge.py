"""The bridge: fetches batches of events from a source, stores them, publishes their deliveries, acknowledges them.

    fetch ─► read ─► (unreadable: dead letter) ─► ingest: one transaction ─► publish ─► acknowledge

After a crash between two steps the source hands out the batch again. The rows are stored already and the broker drops
messages that it holds, so nothing is delivered twice. While PostgreSQL is away, the bridge retries its batch and
fetches nothing more (back-pressure on the source). While Valkey is away, events are stored and acknowledged;
reconciliation queues their deliveries when it is back.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import DataError, Error, OperationalError, connections

from delivery import publish
from delivery.catalogue import Catalogue
from delivery.database import with_lasting_connection
from delivery.dead_letters import store_dead_letters
from delivery.due import Queued
from delivery.errors import Unreadable
from delivery.ingest import Accepted, ingest
from delivery.messages import read_message
from delivery.metrics.process import timed
from delivery.passing import is_passing
from delivery.routes import Router
from delivery.sources import Source, SourceMessage, SourceUnavailable
from delivery.tracing import traced
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Store = Callable[[Sequence[SourceMessage]], list[SourceMessage]]
"""Stores and publishes a batch; returns the messages that became dead letters."""

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


@dataclass(slots=True)
class Counts:
    """Totals since the start."""

    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    deliveries: int = 0
    fan_outs: int = 0
    """Stored instead of a partner's deliveries of an event (delivery.fan_out)."""
    unpublished: int = 0
    """Deliveries that could not be published since the broker went away; 0 after the next success."""
    fetched_at: float = 0.0
    """When the source last answered, in Unix seconds."""


@dataclass(slots=True)
class Bridge:
    """Runs until `stop()`, and finishes its batch first."""

    source: Source
    router: Router
    catalogue: Catalogue
    max_bytes: int
    batch_size: int = 500
    send: Callable[[Sequence[Queued]], int] = publish.publish_briefly
    is_current: Callable[[], bool] = lambda: True
    """Whether the change listener is connected. While it is not, the router may not know all subscriptions."""
    counts: Counts = field(default_factory=Counts)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _database: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "bridge-database"))
    """One thread, and so one connection, for all blocking calls."""

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Connects and handles batches; connects again when the source was away."""
        try:
            await self._run()
        finally:
            await self._blocking(connections.close_all)
            self._database.shutdown()

    async def _run(self) -> None:
        pause = _Pause("the source is away", self._stopping)
        while not self._stopping.is_set():
            try:
                await self.source.connect()
                pause.over()
                await self._pump()
            except SourceUnavailable as error:
                await pause.wait(error)
            except Exception as error:
                if not (is_passing(error) and self._stopping.is_set()):
                    raise
                logger.warning("stopped while the database is away: %s", error)
            finally:
                await self.source.close()

    async def _pump(self) -> None:
        work = traced("bridge batch", self._store_and_publish, lambda one: one.headers.get("traceparent", ""))
        store = timed("bridge", work)
        while not self._stopping.is_set():
            messages = await self.source.fetch(self.batch_size)
            self.counts.fetched_at = time.time()
            if messages:
                await self._handle(messages, store)

    async def _handle(self, messages: Sequence[SourceMessage], store: Store) -> None:
        try:
            dead = await self._patiently(store, messages)
        except DataError as error:  # PostgreSQL refuses something in one message, which must not stop the others
            if len(messages) > 1:
                for message in messages:
                    await self._handle([message], store)
                return
            dead = await self._patiently(self._bury, messages[0], error)
        dead_positions = {message.position for message in dead}
        await self.source.acknowledge([message for message in messages if message.position not in dead_positions])
        await self.source.terminate(dead)

    async def _patiently(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Calls `work` until it succeeds. Raises errors that are not temporary, and any error after `stop`."""
        pause = _Pause("the database is away", self._stopping)
        while True:
            try:
                done = await self._blocking(work, *arguments)
            except Exception as error:
                if not is_passing(error) or self._stopping.is_set():
                    raise
                await pause.wait(error)
            else:
                pause.over()
                return done

    def _read(self, messages: Sequence[SourceMessage]) -> tuple[list[Accepted], list[tuple[SourceMessage, str]]]:
        accepted: list[Accepted] = []
        unreadable: list[tuple[SourceMessage, str]] = []
        for message in messages:
            try:
                accepted.append(self.catalogue.accept(read_message(message, self.max_bytes)))
            except Unreadable as error:
                unreadable.append((message, str(error)))
            except Error:
                raise
            except Exception as error:  # our own fault: the message must not stop all others
                extra = {"subject": message.subject, "position": message.position}
                logger.exception("reading a message raised an exception", extra=extra)
                unreadable.append((message, f"it cannot be read: {type(error).__name__}: {str(error)[:300]}"))
        return accepted, unreadable

    async def _blocking(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._database, work, *arguments)

    @with_lasting_connection
    def _store_and_publish(self, messages: Sequence[SourceMessage]) -> list[SourceMessage]:
        """Returns the messages that became dead letters."""
        if not self.is_current():
            raise OperationalError("the change listener is not connected")
        accepted, unreadable = self._read(messages)
        store_dead_letters(unreadable)
        result = ingest(accepted, self.router)
        self.counts.events += len(result.stored)
        self.counts.duplicates += len(accepted) - len(result.stored)
        self.counts.dead_letters += len(unreadable)
        deliveries = len(result.due)
        self.counts.deliveries += deliveries
        self.counts.fan_outs += len(result.new) - deliveries
        self._publish(result.queued)
        return [message for message, _ in unreadable]

    @with_lasting_connection
    def _bury(self, message: SourceMessage, error: DataError) -> list[SourceMessage]:
        store_dead_letters([(message, f"it cannot be stored: {str(error).strip()[:300]}")])
        self.counts.dead_letters += 1
        return [message]

    def _publish(self, queued: Sequence[Queued]) -> None:
        if not queued:  # nothing is sent to the broker, so whether it is back is unknown
            return
        if publish.publish_or_leave(queued, "bridge", self.send):
            self.counts.unpublished = 0
        else:
            self.counts.unpublished += len(queued)


class _Pause:
    """Waits longer each time, and logs the trouble once."""

    def __init__(self, what: str, stopping: asyncio.Event) -> None:
        self._trouble = Trouble(logger, what)
        self._stopping = stopping
        self._next_s = _FIRST_PAUSE_S

    async def wait(self, error: BaseException) -> None:
        self._trouble.met(error)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._next_s)
        self._next_s = min(self._next_s * 2, _LONGEST_PAUSE_S)

    def over(self) -> None:
        self._trouble.over()
        self._next_s = _FIRST_PAUSE_S
