"""The system under test: the embedded servers in a fresh directory, the bridge, the workers. Real parts, durable.

PostgreSQL with fsync and synchronous_commit, Valkey with its append-only file synced each second. NATS keeps its own
default (written before it acknowledges, synced now and then): it is the platform's message source, whose durability
comes from replicas; `sync_interval: always` would limit it to what the disk syncs, 700 messages a second on the
machine this was written on. Logs are at WARNING, into a file.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import nats.js.errors
import psycopg
from cryptography.fernet import Fernet

from bench import seed
from bench.load import kept
from bench.receiver_process import wait_until
from recart_hooks.processes import Ending, Process
from recart_hooks.stack import Stack

START_S = 60.0
_APP = "recart_hooks.celery"


class SystemFailedError(Exception):
    """A part of the system did not do what it must; the message holds the end of its log."""


class System:
    """A context manager that starts everything and leaves nothing behind.

    `workers` is the number of worker processes, `environ` are settings beside the benchmark's own.
    """

    def __init__(
        self,
        groups: Sequence[seed.Group],
        ports: Sequence[int],
        *,
        workers: int = 2,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._groups = groups
        self._workers = workers
        self._directory = Path(tempfile.mkdtemp(prefix="recart-hooks-bench-"))
        self._stack = Stack(self._directory / "data", environ={})
        self._stack.nats.durable = False
        self._settings = {**_settings(ports), **(environ or {})}
        self._log: IO[bytes] = (self._directory / "processes.log").open("ab")
        self._processes: dict[str, list[Process]] = {}

    @property
    def nats_url(self) -> str:
        return self._stack.nats_url

    @property
    def database_url(self) -> str:
        return self._stack.database_url

    @property
    def classes(self) -> dict[str, list[int]]:
        """Process ids by class, for the meter."""
        servers = {server.name: [server.pid] for server in self._stack.servers}
        return servers | {name: [one.pid for one in found] for name, found in self._processes.items()}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def pending(self) -> int:
        """Deliveries that are not finished in PostgreSQL."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SELECT count(*) FROM delivery_delivery WHERE status = 'pending'").fetchone()
        return int(row[0]) if row else 0

    def wait_until_recorded(self, patience_s: float = 30.0) -> None:
        if not wait_until(lambda: self.pending() == 0, patience_s):
            raise SystemFailedError(f"{self.pending()} deliveries are not finished; {self._log_tail()}")

    def _start(self) -> None:
        self._stack.start()
        self._run(["-m", "bench.seed"], seed.dump(self._groups))
        self._spawn("bridge", "manage.py", "bridge")
        for number in range(self._workers):
            name = f"worker{number}@bench"
            self._spawn("workers", "-m", "celery", "-A", _APP, "worker", "-n", name, "--loglevel", "WARNING")
        self._spawn("beat", "-m", "celery", "-A", _APP, "beat", "--schedule", str(self._directory / "beat"))
        if not wait_until(self._takes_events, START_S):
            raise SystemFailedError(f"the bridge made no stream; {self._log_tail()}")

    def _takes_events(self) -> bool:
        """Whether the bridge has made its stream."""
        with suppress(nats.js.errors.NotFoundError):
            return asyncio.run(kept(self.nats_url, self._groups[0].subjects[0])) >= 0
        return False

    def _stop(self) -> None:
        """The servers last, so that nobody waits for one that is gone."""
        processes = [one for found in self._processes.values() for one in found]
        for one in processes:
            one.ask_to_stop()
        for one in processes:
            one.stop()
        self._stack.stop()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self._settings, **self._stack.environment}

    def _spawn(self, class_name: str, *arguments: str) -> None:
        process = Process(
            [sys.executable, *arguments],
            output=self._log.fileno(),
            env=self._environment(),
            ending=Ending(ladder="TERM:8,QUIT:2,KILL:5"),
        )
        self._processes.setdefault(class_name, []).append(process)

    def _run(self, arguments: Sequence[str], text: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments],
            input=text.encode(),
            stdout=self._log,
            stderr=self._log,
            env=self._environment(),
            check=False,
        )
        if done.returncode:
            raise SystemFailedError(f"{arguments} failed; {self._log_tail()}")

    def _log_tail(self) -> str:
        self._log.flush()
        lines = (self._directory / "processes.log").read_text(errors="replace").splitlines()[-20:]
        return "\n".join(["the end of the log:", *lines])


def _settings(ports: Sequence[int]) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "recart_hooks.settings",
        "SECRET_KEY": "only-for-the-benchmark",
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "ENDPOINT_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ENDPOINT_PORTS": ",".join(str(port) for port in ports),
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }
