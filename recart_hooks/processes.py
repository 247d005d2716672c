"""Starts processes that cannot outlive us: each has a tether (tether.py), which ends it when we stop or are killed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process is ended: a ladder of signals and seconds, and the signal it gets if its tether is killed."""

    ladder: str = "TERM:10,KILL:5"
    orphan: str = "KILL"


class CannotStartError(Exception):
    """A command is missing or cannot be executed."""


class Process:
    """One running command. `pid` is the command's own, not the tether's, so that a test can kill the command itself."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        output: int,
        ending: Ending = Ending(),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        keep_fd: int | None = None,
    ) -> None:
        """Starts the command. `output` is the file descriptor for its standard output and error; the caller closes it.

        `keep_fd` stays open in the command and its children: a lock on it is held until the last of them is gone.
        """
        readable, writable = os.pipe()
        arguments = ["--stop", ending.ladder, "--orphan", ending.orphan, "--report-fd", str(writable)]
        kept = [] if keep_fd is None else [keep_fd]
        arguments += [word for number in kept for word in ("--keep-fd", str(number))]
        try:
            self._tether = subprocess.Popen(  # noqa: S603 - commands come from this project
                [sys.executable, "-I", "-S", str(TETHER), *arguments, "--", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=None if env is None else dict(env),
                cwd=cwd,
                pass_fds=[writable, *kept],
                start_new_session=True,  # Ctrl-C in the terminal reaches only us; we end the commands in order
            )
        finally:
            os.close(writable)
        with open(readable, "rb") as report:
            self.pid = int(report.readline() or 0)
        if not self.pid:
            self.stop()
            raise CannotStartError(f"{command[0]} could not be started; its output says why")

    @property
    def is_running(self) -> bool:
        return self._tether.poll() is None

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code, or 128 + n if signal n ended the command. Raises subprocess.TimeoutExpired."""
        code = self._tether.wait(timeout_s)
        self.ask_to_stop()
        return code

    def ask_to_stop(self) -> None:
        """Begins to end the command and returns at once."""
        if self._tether.stdin is not None:
            self._tether.stdin.close()

    def stop(self) -> int:
        """Ends the command by its ladder and returns the exit code."""
        self.ask_to_stop()
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command itself. Does nothing if the command has ended."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the command, as a crash would, and returns when it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()
