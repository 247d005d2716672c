"""The base class of the embedded servers: data directory, a port that is kept, lock, log, start, stop and crash.

The server and all its children inherit the lock, so it is free only when the last of them is gone. A start after a
kill -9 waits for that, and kills processes that do not end by themselves.
"""

import fcntl
import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from recart_hooks.ports import free_port
from recart_hooks.processes import Ending, Process
from recart_hooks.waiting import wait_until

START_S = 60.0
LEFTOVER_S = 15.0
LOG_MAX_BYTES = 10_000_000


class StackError(Exception):
    """An embedded server failed; the message says why."""


class Server(ABC):
    """One server with its data under `data_dir/<name>`. Not thread-safe."""

    name: str
    ending = Ending()

    def __init__(self, data_dir: Path, *, durable: bool, usual_port: int | None = None) -> None:
        """Touches no file. `durable`: data survives a power cut, not only a crash (Valkey may lose its last second).

        `usual_port`: the port to use if it is free.
        """
        self.data_dir = data_dir
        self.home = data_dir / self.name
        self.log = data_dir / "log" / f"{self.name}.log"
        self.durable = durable
        self.usual_port = usual_port
        self._process: Process | None = None
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port, chosen on first access: the usual one or that of the last start if free, else any free one."""
        if self._port is None:
            preferred = [] if self.usual_port is None else [self.usual_port]
            with suppress(OSError, ValueError):
                preferred.append(int(self._port_file.read_text()))
            self._port = free_port(preferred)
        return self._port

    @property
    def pid(self) -> int:
        """The server's process id. Raises StackError if it is not running."""
        if self._process is None or not self._process.is_running:
            raise StackError(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    def start(self) -> None:
        """Starts the server with its existing data and returns when it answers. Does nothing if it is running."""
        self.begin()
        self.wait_until_ready()

    def begin(self) -> None:
        """Starts the server without waiting for its answer."""
        if self.is_running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        lock = self._take_lock()
        try:
            self.prepare()
            with self._open_log() as log:
                command = self.command()
                self._process = Process(
                    command, output=log.fileno(), ending=self.ending, keep_fd=lock, cwd=self.data_dir
                )
            self._pid_file.write_text(str(self._process.pid))
            self._port_file.write_text(str(self.port))
        finally:
            os.close(lock)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.answers() or not self.is_running:
            if not self.is_running:
                self.stop()
                if self._lost_its_port() and time.monotonic() < deadline:
                    self._port = free_port()
                    self.begin()
                    continue
                raise StackError(f"{self.name} ended while it started; {self._log_tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise StackError(f"{self.name} does not answer after {START_S:.0f} s; {self._log_tail()}")
            time.sleep(0.01)
        self.once_ready()

    def stop(self) -> None:
        """Stops the server and waits until it is gone. Does nothing if it is not running."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.ask_to_stop()

    def kill(self) -> None:
        """Kills the server (SIGKILL), as a crash or the out-of-memory killer would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def wipe(self) -> None:
        """Removes the data, so that the next start begins empty. Raises StackError while the server runs."""
        if self.is_running:
            raise StackError(f"{self.name} is running: stop or kill it first")
        os.close(self._take_lock())
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @abstractmethod
    def answers(self) -> bool:
        """Whether our server answers. Another process may have taken the port."""

    def prepare(self) -> None:
        """Called before the start, under the lock: creates directories and, the first time, the data."""
        self.home.mkdir(parents=True, exist_ok=True)

    def once_ready(self) -> None:  # noqa: B027 - most servers need nothing here
        """Called after each start, once the server answers."""

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / f"{self.name}.pid"

    @property
    def _port_file(self) -> Path:
        return self.data_dir / f"{self.name}.port"

    def _take_lock(self) -> int:
        """Opens and locks the lock file. A Stack owns its directory, so only a leftover of an old run can hold it."""
        lock = os.open(self.data_dir / f"{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if wait_until(lambda: try_lock(lock), LEFTOVER_S):
            return lock
        with suppress(OSError, ValueError):
            os.killpg(int(self._pid_file.read_text()), signal.SIGKILL)
        if wait_until(lambda: try_lock(lock), LEFTOVER_S):
            return lock
        os.close(lock)
        raise StackError(f"{self.name}: a process of an earlier run still holds {self.home}")

    def _open_log(self) -> BinaryIO:
        if self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("ab")

    def _lost_its_port(self) -> bool:
        """Whether another process took the port after we found it free."""
        return "address already in use" in self._log_tail().lower()

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-8:]
        return "\n".join([f"the end of {self.log}:", *lines])


def package_directory(package: str) -> Path:
    """The directory of an installed package, found without importing it. Raises StackError if it is missing."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise StackError(f"{package} is not installed; `make setup` installs it")
    return Path(spec.origin).parent


def try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
