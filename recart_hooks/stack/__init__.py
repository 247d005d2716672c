"""The embedded stack: PostgreSQL, Valkey and NATS from wheels, for the demo, the tests and the benchmarks.

    with Stack(Path(".data")) as stack:
        stack.database_url, stack.broker_url, stack.nats_url

If the environment already has a server's URL, that server is not started. The servers end with this process, also when
it is killed. One Stack at a time owns a data directory; stacks in different directories are independent.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from recart_hooks.stack.nats import Nats
from recart_hooks.stack.postgres import Postgres
from recart_hooks.stack.server import Server, StackError, try_lock
from recart_hooks.stack.valkey import Valkey

__all__ = ["Nats", "Postgres", "Server", "Stack", "StackError", "Valkey"]


class Stack:
    """The three servers and their addresses. Fault tests use methods such as `stack.valkey.kill()`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        environ: Mapping[str, str] | None = None,
        nats_port: int | None = None,
    ) -> None:
        """Starts nothing. `durable=False` is for tests: quicker, but data survives only crashes of processes.

        A server whose URL is in `environ` (by default the process's own) is not started. NATS uses `nats_port` if it is
        free.
        """
        self.data_dir = data_dir.resolve()
        self.postgres = Postgres(self.data_dir, durable=durable)
        self.valkey = Valkey(self.data_dir, durable=durable)
        self.nats = Nats(self.data_dir, durable=durable, usual_port=nats_port)
        environ = os.environ if environ is None else environ
        self._given = {name: environ[name] for name in ("DATABASE_URL", "BROKER_URL", "NATS_URL") if environ.get(name)}
        self._lock: int | None = None

    @property
    def database_url(self) -> str:
        return self._given.get("DATABASE_URL") or self.postgres.url

    @property
    def broker_url(self) -> str:
        return self._given.get("BROKER_URL") or self.valkey.url

    @property
    def nats_url(self) -> str:
        return self._given.get("NATS_URL") or self.nats.url

    @property
    def environment(self) -> dict[str, str]:
        """The addresses, by the names of their settings."""
        return {"DATABASE_URL": self.database_url, "BROKER_URL": self.broker_url, "NATS_URL": self.nats_url}

    @property
    def servers(self) -> list[Server]:
        """The servers that this stack runs."""
        ours = {"DATABASE_URL": self.postgres, "BROKER_URL": self.valkey, "NATS_URL": self.nats}
        return [server for name, server in ours.items() if name not in self._given]

    def own(self) -> None:
        """Locks the data directory for this process. Raises StackError if another process holds it."""
        if self._lock is not None:
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.data_dir / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not try_lock(lock):
            owner = os.read(lock, 20).decode()
            os.close(lock)
            raise StackError(
                f"process {owner} runs a stack in {self.data_dir}; stop it, or choose another directory: "
                "--data-dir DIR, or make … DATA=DIR"
            )
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def start(self) -> None:
        """Starts all our servers at the same time and returns when they answer. Raises StackError."""
        self.own()
        try:
            for server in self.servers:
                server.begin()
            for server in self.servers:
                server.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops all our servers, at the same time; their data stays."""
        for server in self.servers:
            server.ask_to_stop()
        for server in self.servers:
            server.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
