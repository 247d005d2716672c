"""What is measured runs here: embedded servers in a fresh directory, programs beside them, nothing left behind.

PostgreSQL with fsync and synchronous_commit, Valkey with its append-only file synced each second. NATS keeps its own
default (written before it acknowledges, synced now and then): it is the platform's message source, whose durability
comes from replicas; `sync_interval: always` would limit it to what the disk syncs, 700 messages a second on the
machine this was written on.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import nats
import nats.js.errors
import psycopg

from bench.receiver_process import wait_until
from bench.seed import Group
from recart_hooks.processes import Ending, Process
from recart_hooks.stack import Stack

START_S = 60.0
STREAM = "EVENTS"
_LOG_AHEAD = 32
"""Segments of PostgreSQL's log: enough for the longest steady load."""
_ENDING = Ending(ladder="KILL:5")  # what they still hold is thrown away with the directory


class ProgramsFailedError(Exception):
    """A part of what is measured did not do what it must; the message holds the end of its log."""


class Programs(ABC):
    """A context manager around a stack and the programs that a subclass starts. `settings` are their environment."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self.directory = Path(tempfile.mkdtemp(prefix="recart-hooks-bench-"))
        self.stack = Stack(self.directory / "data", environ={})
        self.stack.nats.durable = False
        self._log: IO[bytes] = (self.directory / "programs.log").open("ab")
        self.processes: dict[str, list[Process]] = {}

    @property
    def events_url(self) -> str:
        """Where events are published."""
        return self.stack.nats_url

    def addressed(self, group: Group) -> Group:
        """The group as its events are published here."""
        return group

    @property
    def classes(self) -> dict[str, list[int]]:
        """Process ids by class, for the meter."""
        servers = {server.name: [server.pid] for server in self.stack.servers}
        return servers | {name: [one.pid for one in found] for name, found in self.processes.items()}

    @abstractmethod
    def start(self) -> None:
        """Starts the programs; the servers run already."""

    @abstractmethod
    def is_idle(self) -> bool:
        """Whether everything that was taken in is delivered and written down."""

    def wait_until_recorded(self, patience_s: float = 30.0) -> None:
        if not wait_until(self.is_idle, patience_s):
            raise ProgramsFailedError(f"something is not finished; {self._log_tail()}")

    def __enter__(self) -> Self:
        try:
            self.stack.start()
            self._make_log_ahead()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def _make_log_ahead(self) -> None:
        """PostgreSQL takes the segments of its log again and again; one that has just begun makes 16 MB of zeros for
        each, and commits wait for that, some 70 ms. What is measured should be what lasts."""
        with psycopg.connect(self.stack.postgres.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET min_wal_size = '{_LOG_AHEAD * 16}MB'".encode())
            connection.execute("SELECT pg_reload_conf()")
            for _ in range(_LOG_AHEAD):
                connection.execute("SELECT pg_logical_emit_message(false, '', '')")
                connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """The servers last, so that nobody waits for one that is gone."""
        processes = [one for found in self.processes.values() for one in found]
        for one in processes:
            one.ask_to_stop()
        for one in processes:
            one.stop()
        self.stack.stop()
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def spawn(self, class_name: str, *arguments: str, program: str = sys.executable) -> None:
        """Starts a program (Python's, if not said otherwise); its CPU and memory count to that class."""
        process = Process([program, *arguments], output=self._log.fileno(), env=self._environment(), ending=_ENDING)
        self.processes.setdefault(class_name, []).append(process)

    def takes_events(self) -> bool:
        """Whether the bridge, or what stands in for it, has made its stream."""
        return asyncio.run(_waiting(self.stack.nats_url)) is not None

    def has_taken_all(self) -> bool:
        """Whether nothing waits in the stream: every event is where the workers find it."""
        return asyncio.run(_waiting(self.stack.nats_url)) == 0

    def run(self, *arguments: str, text: str = "", program: str = sys.executable) -> str:
        """Runs a program to its end and returns what it printed. Raises ProgramsFailedError."""
        done = subprocess.run(
            [program, *arguments],
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment(),
            check=False,
        )
        self._log.write(done.stdout)
        if done.returncode:
            raise ProgramsFailedError(f"{arguments} failed; {self._log_tail()}")
        return done.stdout.decode(errors="replace")

    def number(self, query: str) -> int:
        """The one number that a query of PostgreSQL gives."""
        with psycopg.connect(self.stack.database_url) as connection:
            row = connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.stack.database_url) as connection:
            connection.execute(statement.encode())

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.stack.environment, **self._settings}

    def _log_tail(self) -> str:
        self._log.flush()
        lines = (self.directory / "programs.log").read_text(errors="replace").splitlines()[-20:]
        return "\n".join(["the end of the log:", *lines])


async def _waiting(nats_url: str) -> int | None:
    """How many messages the first consumer of the stream has not acknowledged; None without a stream or a consumer."""
    client = await nats.connect(nats_url)
    try:
        consumers = await client.jsm().consumers_info(STREAM)
        return (consumers[0].num_pending or 0) + (consumers[0].num_ack_pending or 0) if consumers else None
    except nats.js.errors.NotFoundError:
        return None
    finally:
        await client.close()
