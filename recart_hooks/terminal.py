"""Terminal output of the demo and `make dev`, one line at a time."""

import os
import signal
import sys

_COLOURS = {"bold": 1, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


def say(line: str) -> None:
    """Prints one line. If the reader is gone (`make demo | head`), asks this process to end."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open until the process ends
        os.kill(os.getpid(), signal.SIGTERM)


def paint(text: str, colour: str) -> str:
    """The text in colour on a terminal, plain elsewhere or if NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
