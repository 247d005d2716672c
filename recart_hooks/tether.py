"""Runs one command and ends it when the process that asked for it is gone, however that one ended.

A script of its own (`python tether.py …`), standard library only, because one runs beside every process we start.
The asker keeps the write end of this script's standard input open and never writes: end of file means that it wants the
command ended, or that it was killed. That works the same on Linux and macOS and needs no polling. Where the kernel can
tell of a parent's death (Linux), the command is also ended when this script itself is killed.

Ending is a ladder: each signal of `--stop` is given its seconds before the next one is sent, and whatever is left of
the command's process group is killed last. The exit code is the command's, 128 + n when signal n ended it.
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
    parser.add_argument("--stop", default="TERM:10,KILL:5", help="signals and the seconds each is given")
    parser.add_argument("--orphan", default="KILL", help="the signal when this script itself is killed (Linux)")
    parser.add_argument("--report-fd", type=int, help="where the command's process id is written")
    parser.add_argument("--keep-fd", type=int, action="append", default=[], help="stays open in the command")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def parse_ladder(text: str) -> list[tuple[signal.Signals, float]]:
    """`INT:10,KILL:5` as pairs of a signal and seconds."""
    rungs = (rung.split(":") for rung in text.split(","))
    return [(signal.Signals[f"SIG{name}"], float(seconds)) for name, seconds in rungs]


def watch_signals() -> int:
    """A file descriptor that becomes readable at every signal: the number of the signal, one byte each."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def start(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the command is the asker's own
        options.command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        pass_fds=options.keep_fd,
        preexec_fn=end_with_us(signal.Signals[f"SIG{options.orphan}"]),  # noqa: PLW1509 - there are no threads here
    )


def end_with_us(number: signal.Signals) -> Callable[[], None] | None:
    """What the child calls before it becomes the command: asks the kernel to signal it when we die."""
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
    """Returns when the child has ended: by itself, or because the ladder was climbed."""
    asker = sys.stdin.fileno()
    watched, rungs, next_rung_at = [wake, asker], iter(ladder), float("inf")
    while child.poll() is None:
        patience = None if next_rung_at == float("inf") else max(0.0, next_rung_at - time.monotonic())
        ready = select.select(watched, [], [], patience)[0]
        asked = asker in ready and not os.read(asker, 4096)
        if asked:
            watched.remove(asker)
        if wake in ready:
            asked |= any(number != signal.SIGCHLD for number in os.read(wake, 4096))
        if child.poll() is None and (time.monotonic() >= next_rung_at or (asked and next_rung_at == float("inf"))):
            number, seconds = next(rungs, (signal.SIGKILL, 5.0))
            child.send_signal(number)
            next_rung_at = time.monotonic() + seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
