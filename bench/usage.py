"""Measures processes: CPU seconds by class of process, and peak memory.

A class is a set of process trees. CPU includes children that have ended. Memory is the sum of the proportional set
sizes, so that pages shared between processes (PostgreSQL's buffers) count once; on macOS, which does not report these,
it is the resident set size.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

SAMPLE_S = 1.0


def trees(roots: Sequence[int]) -> list[psutil.Process]:
    """The processes and all their living descendants, without processes that are gone."""
    found: list[psutil.Process] = []
    for pid in roots:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """CPU seconds of the trees since their start, including children that ended and were waited for."""
    total = 0.0
    for process in trees(roots):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_bytes(roots: Sequence[int]) -> int:
    total = 0
    for process in trees(roots):
        with suppress(psutil.Error, OSError):
            total += _proportional_bytes(process.pid) or process.memory_info().rss
    return total


def _proportional_bytes(pid: int) -> int:
    """The proportional set size; 0 if the system does not report it."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Meter:
    """A context manager that samples memory once a second and reports CPU since its creation."""

    def __init__(self, classes: Mapping[str, Sequence[int]]) -> None:
        self._classes = classes
        self._before = self._read()
        self._peak = 0
        self._stopping = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._sampler.join()

    def cpu_s(self) -> dict[str, float]:
        """By class, since this meter was made."""
        return {name: round(now - self._before[name], 3) for name, now in self._read().items()}

    @property
    def peak_mb(self) -> float:
        return round(self._peak / 1e6, 1)

    def _read(self) -> dict[str, float]:
        return {name: cpu_seconds(roots) for name, roots in self._classes.items()}

    def _sample(self) -> None:
        every = [pid for roots in self._classes.values() for pid in roots]
        while True:
            self._peak = max(self._peak, memory_bytes(every))
            if self._stopping.wait(SAMPLE_S):
                return
