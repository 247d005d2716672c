"""Runs one command, and ends it when the process that started this script is gone, for whatever reason.

One runs beside every process we start, so this script (`python tether.py …`) imports only the standard library. Its
owner, the process that starts it, keeps the write end of the script's standard input open and never writes to it: end
of file means that the owner closed it to stop the command, or died. This needs no polling and works on Linux and macOS.
On Linux the kernel also ends the command when the script itself is killed.

`--stop` is a ladder of signals, each with the seconds to wait before the next one. Afterwards whatever is left of the
command's process group is killed. The exit code is the command's, or 128 + n if signal n ended it.
"""

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    ladder = parse_ladder(options.stop)
    wake = watch_signals()
    child = start(options)
    if options.report_fd is not None:
        os.write(options.report_fd, f"{child.pid}\n".encode())
        os.close(options.report_fd)
    try:
        hold(child, ladder, wake)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
    return code if code >= 0 else 128 - code


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs a command that ends when standard input ends.")
    parser.add_argument("--stop", default="TERM:10,KILL:5", help="signals, each with the seconds before the next")
    parser.add_argument("--orphan", default="KILL", help="signal to send if this script is killed (Linux)")
    parser.add_argument("--report-fd", type=int, help="file descriptor for the command's process id")
    parser.add_argument("--keep-fd", type=int, action="append", default=[], help="file descriptor to keep")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def parse_ladder(text: str) -> list[tuple[signal.Signals, float]]:
    """Parses `INT:10,KILL:5` into pairs of a signal and seconds."""
    rungs = (rung.split(":") for rung in text.split(","))
    return [(signal.Signals[f"SIG{name}"], float(seconds)) for name, seconds in rungs]


def watch_signals() -> int:
    """A file descriptor from which each arriving signal can be read, as one byte: its number."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def start(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the owner chose the command
        options.command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        pass_fds=options.keep_fd,
        preexec_fn=end_with_us(signal.Signals[f"SIG{options.orphan}"]),  # noqa: PLW1509 - there are no threads here
    )


def end_with_us(number: signal.Signals) -> Callable[[], None] | None:
    """A function that the child calls before it executes the command: the kernel then signals it when we die."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - only Linux needs it

    set_process_control = ctypes.CDLL(None).prctl
    us = os.getpid()

    def ask() -> None:
        set_process_control(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != us:
            os._exit(1)

    return ask


def hold(child: subprocess.Popen[bytes], ladder: list[tuple[signal.Signals, float]], wake: int) -> None:
    """Returns when the child has ended, by itself or by the ladder."""
    owner = sys.stdin.fileno()
    watched, rungs, next_rung_at = [wake, owner], iter(ladder), float("inf")
    while child.poll() is None:
        patience = None if next_rung_at == float("inf") else max(0.0, next_rung_at - time.monotonic())
        ready = select.select(watched, [], [], patience)[0]
        asked = owner in ready and not os.read(owner, 4096)
        if asked:
            watched.remove(owner)
        if wake in ready:
            asked |= any(number != signal.SIGCHLD for number in os.read(wake, 4096))
        if child.poll() is None and (time.monotonic() >= next_rung_at or (asked and next_rung_at == float("inf"))):
            number, seconds = next(rungs, (signal.SIGKILL, 5.0))
            child.send_signal(number)
            next_rung_at = time.monotonic() + seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
