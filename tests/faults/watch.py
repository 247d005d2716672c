"""Checks that processes neither spin nor flood the log during a fault."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from bench.usage import cpu_seconds
from tests.flow.system import System

MOST_CPU_S = 6.0
"""The most that one process may use during a fault of some seconds. A process that spins uses far more."""
MOST_LINES = 40
"""Of all processes together. Several parts of each may log once that a server is away and once that it is back."""


@contextmanager
def calm(system: System) -> Iterator[None]:
    """Fails if the block makes a process spin or the log fill up."""
    begin = system.log.stat().st_size if system.log.exists() else 0
    before = _cpu_s(system)
    yield
    for name, used in _cpu_s(system).items():
        assert used - before.get(name, 0.0) < MOST_CPU_S, f"{name} used {used - before.get(name, 0.0):.1f} s of CPU"
    lines = _records(system.log.read_bytes()[begin:].decode(errors="replace"))
    gists = Counter(_gist(line) for line in lines)
    assert len(lines) <= MOST_LINES, f"{len(lines)} lines, mostly {gists.most_common(8)}"


def _cpu_s(system: System) -> dict[str, float]:
    return {name: cpu_seconds([process.pid]) for name, process in system.processes.items()}


def _records(text: str) -> list[str]:
    """Lines that begin with a time. The lines of a traceback belong to the record before them."""
    return [line for line in text.splitlines() if line[:2].isdigit()]


def _gist(line: str) -> str:
    return " ".join(line.split()[1:8])
