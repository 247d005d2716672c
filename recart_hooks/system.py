"""Starts the whole system as children of this process: servers, tables, static files, processes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.error import URLError
from urllib.request import urlopen

from recart_hooks.local import Ports, local_environment
from recart_hooks.ports import LOOPBACK, is_free
from recart_hooks.runner import PROJECT, Runner
from recart_hooks.stack import Stack
from recart_hooks.stack.nats import USUAL_PORT

READY_S = 90.0
_PORTS = range(1, 65_536)


class StartError(Exception):
    """The system did not come up; the message says which part and where its log is."""


@dataclass(frozen=True, slots=True)
class System:
    """A running system and its environment."""

    stack: Stack
    runner: Runner
    environment: Mapping[str, str]
    logs: Path

    def wait_until_ready(self) -> None:
        """Returns when `/readyz` reports that all servers can be reached. Raises StartError."""
        deadline = time.monotonic() + READY_S
        address = f"http://{reachable(self.environment['WEB_BIND'])}/readyz"
        while time.monotonic() < deadline:
            try:
                with urlopen(address, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (URLError, OSError):
                time.sleep(0.1)
        raise StartError(f"the web process is not ready after {READY_S:.0f} s; its log is {self.logs / 'web.log'}")


def reachable(bind: str) -> str:
    """Where this machine reaches what listens at `bind`. If that is all addresses, it is the loopback address, because
    the web process answers only to names in ALLOWED_HOSTS."""
    host, _, port = bind.rpartition(":")
    return f"{LOOPBACK}:{port}" if host in {"", "0.0.0.0", "[::]"} else bind  # noqa: S104 - compares only


@contextmanager
def run_system(data_dir: Path, workers: int, say: Callable[[str], None]) -> Iterator[System]:
    """Starts the servers, prepares tables and files; the caller starts the processes. Everything ends with the block.

    Also sets this process's environment. Raises StackError and StartError.
    """
    with Stack(data_dir, nats_port=USUAL_PORT) as stack:
        environment = local_environment(stack, Ports.choose())
        os.environ.update(environment)
        prepare(environment)
        logs = data_dir.resolve() / "log"
        with LogFiles(logs, say) as files, Runner(environment, files.write, workers=workers) as runner:
            yield System(stack, runner, environment, logs)


def prepare(environment: Mapping[str, str]) -> None:
    """Migrates the database and collects the static files, both at the same time. Raises StartError, also if a port is
    taken: what answers there could be taken for the system that starts."""
    for name in ("WEB_BIND", "FLOWER_PORT"):
        address = environment.get(name, "")
        port = address.rpartition(":")[2]
        if port.isdecimal() and int(port) in _PORTS and not is_free(int(port)):
            raise StartError(f"{name}={address}: the port is taken")
    commands = (["migrate", "--no-input"], ["collectstatic", "--no-input"])
    running = [
        subprocess.Popen(  # noqa: S603 - our own commands
            [sys.executable, "manage.py", *command, "--verbosity", "0"], env=dict(environment), cwd=PROJECT
        )
        for command in commands
    ]
    codes = [process.wait() for process in running]
    for command, code in zip(commands, codes, strict=True):
        if code:
            raise StartError(f"manage.py {command[0]} failed")


class LogFiles:
    """A log file for each process, overwritten when the system starts. Announces processes that ended by themselves."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._files: dict[str, TextIO] = {}
        self._lock = threading.Lock()

    def write(self, name: str, line: str) -> None:
        """The runner's sink."""
        with self._lock:
            if name not in self._files:
                self._files[name] = (self._directory / f"{name}.log").open("w", encoding="utf-8", buffering=1)
            self._files[name].write(line + "\n")
        if line.startswith("ended with exit code"):
            self._say(f"{name} {line}; its log is {self._directory / f'{name}.log'}")

    def __enter__(self) -> "LogFiles":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()
