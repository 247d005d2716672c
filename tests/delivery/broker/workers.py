"""Real Celery workers in their own processes, and the tasks that they ran."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from recart_hooks.runner import PROJECT
from tests.delivery.broker.servers import Broker
from tests.delivery.broker.waiting import until


class Run(NamedTuple):
    word: str
    value: str
    pid: int
    at: float
    queue: str
    redelivered: bool


class Workers:
    def __init__(self, broker: Broker, directory: Path, url: str = "") -> None:
        """`url`: the address by which workers reach the broker (default: direct)."""
        self._url = url or broker.url
        self._directory = directory
        self._runs = directory / "runs"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        settings = {"BROKER_URL": self._url, "RUNS": str(self._runs), "PYTHONPATH": str(PROJECT)}
        return {**os.environ, **settings, "PYTHONWARNINGS": "ignore"}

    def start(self, name: str = "one", threads: int = 8, pool: str = "threads", **settings: object) -> None:
        """Returns when the worker is ready. `settings` go to worker_app.py by its environment."""
        command = [sys.executable, "-m", "celery", "--app", "tests.delivery.broker.worker_app", "worker"]
        command += ["--pool", pool, "--concurrency", str(threads), "--hostname", f"{name}@test", "-l", "INFO"]
        environment = self.environment | {key.upper(): str(value) for key, value in settings.items()}
        with self._log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--without-gossip", "--without-mingle"], env=environment, cwd=PROJECT, stdout=log, stderr=log
            )
        until(lambda: "ready." in self.log(name), f"worker {name} is ready", 60)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def log(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")

    def runs(self, word: str = "ran") -> list[Run]:
        if not self._runs.exists():
            return []
        complete = self._runs.read_text().rpartition("\n")[0]  # a worker may be writing the next line
        rows = (line.split(" ") for line in complete.splitlines())
        found = (Run(row[0], row[1], int(row[2]), float(row[3]), row[4], row[5] == "True") for row in rows)
        return [run for run in found if run.word == word]

    def wait_for(self, count: int, word: str = "ran", timeout_s: float = 30) -> list[Run]:
        until(lambda: len(self.runs(word)) >= count, f"{count} x {word!r}", timeout_s)
        return self.runs(word)

    def wait_for_value(self, value: str) -> Run:
        until(lambda: any(run.value == value for run in self.runs()), f"{value} ran")
        return next(run for run in self.runs() if run.value == value)

    def wait_for_another(self) -> None:
        count = len(self.runs())
        until(lambda: len(self.runs()) > count, "another task ran")

    def signal(self, name: str, number: int) -> None:
        os.kill(self.processes[name].pid, number)

    def stop(self, name: str) -> None:
        """A warm shutdown."""
        self.signal(name, signal.SIGTERM)
        self.processes.pop(name).wait(30)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        for name in list(self.processes):
            self.kill(name)
