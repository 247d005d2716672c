"""Runs a system under test: embedded servers in a fresh directory and programs beside them; removes all at the end.

PostgreSQL runs with fsync and synchronous_commit; Valkey syncs its append-only file each second. NATS keeps its default
(it writes before it acknowledges, and syncs now and then): as the platform's message source it is durable by replicas,
and `sync_interval: always` would limit it to the speed of the disk's syncs.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Self

import nats
import nats.js.errors
import psycopg

from bench.seed import Group
from recart_hooks.processes import Ending, Process
from recart_hooks.stack import Stack
from recart_hooks.waiting import wait_until

START_S = 60.0
STREAM = "EVENTS"
_LOG_AHEAD = 32
"""Segments of PostgreSQL's write-ahead log: enough for the longest steady load."""
_ENDING = Ending(ladder="KILL:5")  # their data is removed with the directory


class ProgramsFailedError(Exception):
    """A part of the system under test failed. The message usually holds the end of the log."""


class Programs(ABC):
    """A context manager that runs a stack and a subclass's programs. `settings` is added to their environment."""

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
        """The group, with the addresses that its events are published to."""
        return group

    @property
    def classes(self) -> dict[str, list[int]]:
        """Process ids by class, for the meter."""
        servers = {server.name: [server.pid] for server in self.stack.servers}
        return servers | {name: [one.pid for one in found] for name, found in self.processes.items()}

    @abstractmethod
    def start(self) -> None:
        """Starts the programs. The servers are already running."""

    @abstractmethod
    def is_idle(self) -> bool:
        """Whether every event that was taken in is delivered and recorded."""

    def wait_until_recorded(self) -> None:
        if not wait_until(self.is_idle, patience_s=30):
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
        """Creates segments of PostgreSQL's write-ahead log ahead of time. A new cluster fills each with 16 MB of zeros,
        and commits wait some 70 ms for that; one that has been running recycles old segments."""
        with psycopg.connect(self.stack.postgres.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET min_wal_size = '{_LOG_AHEAD * 16}MB'".encode())
            connection.execute("SELECT pg_reload_conf()")
            for _ in range(_LOG_AHEAD):
                connection.execute("SELECT pg_logical_emit_message(false, '', '')")
                connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops the programs before the servers, so that none waits for a server that is gone."""
        processes = [one for found in self.processes.values() for one in found]
        for one in processes:
            one.ask_to_stop()
        for one in processes:
            one.stop()
        self.stack.stop()
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def spawn(self, class_name: str, *arguments: str, program: str = sys.executable) -> None:
        """Starts a program, by default Python. Its CPU and memory are counted under `class_name`."""
        process = Process([program, *arguments], output=self._log.fileno(), env=self._environment(), ending=_ENDING)
        self.processes.setdefault(class_name, []).append(process)

    def takes_events(self) -> bool:
        """Whether the stream exists and has a consumer: the bridge's, or that of a peer."""
        return asyncio.run(_waiting(self.stack.nats_url)) is not None

    def has_taken_all(self) -> bool:
        """Whether the consumer has taken and acknowledged every event, so that the workers can find it."""
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
        """The single number that a PostgreSQL query returns."""
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
    """How many messages the stream's first consumer has not acknowledged; None without a stream or a consumer."""
    client = await nats.connect(nats_url)
    try:
        consumers = await client.jsm().consumers_info(STREAM)
        return (consumers[0].num_pending or 0) + (consumers[0].num_ack_pending or 0) if consumers else None
    except nats.js.errors.NotFoundError:
        return None
    finally:
        await client.close()
