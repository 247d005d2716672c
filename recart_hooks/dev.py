"""`make dev`: runs the whole system on this machine, logs to the terminal, and restarts it when the code changes.

Reads the project's `.env` file; variables that are already set take precedence.
"""

import argparse
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from honcho.environ import parse

from recart_hooks.local import Ports, local_environment
from recart_hooks.runner import PROJECT, Runner
from recart_hooks.stack import Stack, StackError
from recart_hooks.stack.nats import USUAL_PORT
from recart_hooks.system import StartError, prepare
from recart_hooks.terminal import paint, say

PACKAGES = ("recart_hooks", "delivery", "partners")
LOOK_EVERY_S = 0.7
COLOURS = itertools.cycle(("cyan", "yellow", "green", "magenta", "blue", "red"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recart_hooks.dev", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="where data is kept (default: .data)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default: 1)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    read_env_file(PROJECT / ".env")
    try:
        run(options.data_dir, options.workers)
    except (StackError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def run(data_dir: Path, workers: int) -> None:
    """Runs the system until it is interrupted."""
    terminal = Terminal()
    with Stack(data_dir, nats_port=USUAL_PORT) as stack:
        environment = local_environment(stack, Ports.choose(), {"DEBUG": "1"})
        prepare(environment)
        with Runner(environment, terminal.write, workers=workers) as runner:
            runner.start()
            runner.keep_running()
            terminal.write("dev", f"web {environment['PUBLIC_URL']}/admin/   Flower {environment['FLOWER_URL']}/")
            terminal.write("dev", f"NATS {environment['NATS_URL']}")
            for path in changes():
                terminal.write("dev", f"{path} changed: restarting all processes")
                runner.restart([*runner.programs])


def read_env_file(path: Path) -> None:
    """Adds the file's variables to this process's environment, except those that are already set."""
    if path.exists():
        for name, value in parse(path.read_text()).items():
            os.environ.setdefault(name, value)


def changes(root: Path = PROJECT, pause: Callable[[float], None] = time.sleep) -> Iterator[Path]:
    """Yields a path whenever some of our Python files were changed, added or removed."""
    before = file_times(root)
    while True:
        pause(LOOK_EVERY_S)
        now = file_times(root)
        changed = {path for path, _ in before.items() ^ now.items()}
        before = now
        if changed:
            yield min(changed).relative_to(root)


def file_times(root: Path) -> dict[Path, int]:
    found = {}
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            try:
                found[path] = path.stat().st_mtime_ns
            except FileNotFoundError:  # an editor is replacing the file
                continue
    return found


class Terminal:
    """Prints each line after the coloured name of its process."""

    def __init__(self) -> None:
        self._colours: dict[str, str] = {}

    def write(self, name: str, line: str) -> None:
        """The runner's sink."""
        say(f"{paint(f'{name:<9}|', self._colours.setdefault(name, next(COLOURS)))} {line}")


if __name__ == "__main__":
    sys.exit(main())
