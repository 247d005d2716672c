"""Runs the processes of the Procfile on this machine, for `make dev`, `make demo` and `make smoke`.

Each process has a tether (processes.py), so none outlives us. Every line that a process prints goes to one function.
A process that ends by itself is restarted, after a longer pause each time.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from honcho.environ import parse_procfile

from recart_hooks.processes import Ending, Process

PROJECT = Path(__file__).resolve().parent.parent
WARM_STOP = Ending(ladder="TERM:25,QUIT:5,KILL:5")
"""TERM lets a process finish what it is doing; one that takes longer is ended by QUIT and KILL."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
STABLE_AFTER_S = 30.0

Sink = Callable[[str, str], None]
"""Receives the name of a process and a line that it printed. Called from several threads."""


def procfile() -> dict[str, str]:
    """The commands of the Procfile, by name."""
    return dict(parse_procfile((PROJECT / "Procfile").read_text()).processes)


def start_command(
    name: str, command: str, environment: Mapping[str, str], *, output: int, ending: Ending = WARM_STOP
) -> Process:
    """Starts a command of the Procfile. It finds the programs of our virtual environment first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment = {**environment, "HONCHO_PROCESS_NAME": name, "PATH": path}
    return Process(["/bin/sh", "-c", f"exec {command}"], output=output, ending=ending, env=environment, cwd=PROJECT)


@dataclass(slots=True)
class Program:
    """One entry of the Procfile, running or not. `name` is unique: `worker.1`, `worker.2`."""

    name: str
    command: str
    environment: Mapping[str, str]
    sink: Sink
    process: Process | None = None
    _started_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _reader: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    def start(self) -> None:
        readable, writable = os.pipe()
        try:
            self.process = start_command(self.name, self.command, self.environment, output=writable)
        finally:
            os.close(writable)
        self._started_at = time.monotonic()
        self._reader = threading.Thread(target=self._read, args=(readable,), name=f"read {self.name}", daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """Kills the process, as a crash would."""
        if self.process is not None:
            self.process.kill()

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self.process.ask_to_stop()

    def stop(self) -> int | None:
        """Ends the process by WARM_STOP and returns its exit code."""
        if self.process is None:
            return None
        code = self.process.stop()
        if self._reader is not None:
            self._reader.join(timeout=5)
        self.process = None
        return code

    def next_start_in(self) -> float:
        """Seconds to wait before a restart: twice as long each time, unless the process ran for STABLE_AFTER_S."""
        if time.monotonic() - self._started_at > STABLE_AFTER_S:
            self._pause_s = FIRST_PAUSE_S
        pause, self._pause_s = self._pause_s, min(self._pause_s * 2, LONGEST_PAUSE_S)
        return pause

    def _read(self, readable: int) -> None:
        with open(readable, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self.sink(self.name, line.rstrip("\n"))


@dataclass(slots=True)
class Runner:
    """All programs of the Procfile, with `workers` worker processes. A context manager that stops them at its end."""

    environment: Mapping[str, str]
    sink: Sink
    workers: int = 1
    commands: Mapping[str, str] = field(default_factory=procfile)
    programs: dict[str, Program] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _watch: threading.Thread | None = None
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for name, command in self.commands.items():
            names = [f"worker.{number + 1}" for number in range(self.workers)] if name == "worker" else [name]
            for one in names:
                self.programs[one] = Program(one, command, self.environment, self.sink)

    def start(self, names: Sequence[str] = ()) -> None:
        """Starts the named programs, or all of them."""
        for name in names or self.programs:
            self.programs[name].start()

    def keep_running(self) -> None:
        """From now on, restarts each program that ends by itself. Returns at once."""
        self._watch = threading.Thread(target=self._keep_running, name="watch programs", daemon=True)
        self._watch.start()

    def restart(self, names: Sequence[str]) -> None:
        """Stops these programs, all at the same time, and starts them again."""
        with self._changing:
            for name in names:
                self.programs[name].ask_to_stop()
            for name in names:
                self.programs[name].stop()
                self.programs[name].start()

    def stop(self) -> None:
        self._stopping.set()
        if self._watch is not None:
            self._watch.join()
        for program in self.programs.values():
            program.ask_to_stop()
        for program in self.programs.values():
            program.stop()

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _keep_running(self) -> None:
        due: dict[Process, float] = {}
        while not self._stopping.wait(0.1):
            with self._changing:
                for program in self.programs.values():
                    if program.process is not None and not program.process.is_running:
                        self._start_again(program, program.process, due)

    def _start_again(self, program: Program, ended: Process, due: dict[Process, float]) -> None:
        if ended not in due:
            pause = program.next_start_in()
            due[ended] = time.monotonic() + pause
            self.sink(program.name, f"ended with exit code {ended.wait()}; starts again in {pause:g} s")
        elif time.monotonic() >= due[ended]:
            del due[ended]
            program.stop()
            program.start()
