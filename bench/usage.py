"""What processes use: CPU seconds by class of process, and the peak of their memory.

A class is a set of process trees. CPU counts what ended children used as well. Memory is the sum of the proportional
set sizes, so that pages shared between processes (PostgreSQL's buffers) count once; where the system does not tell
(macOS), it is the resident size.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

SAMPLE_S = 1.0


def trees(roots: Sequence[int]) -> list[psutil.Process]:
    """The processes and all their living descendants; those that are gone are left out."""
    found: list[psutil.Process] = []
    for pid in roots:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found += [root, *root.children(recursive=True)]
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """Of the trees since their start: what lives, and what ended and was waited for."""
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
    """0 where the system does not say."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Meter:
    """A context manager: between start and end it samples memory once a second, and tells what was used so far."""

    def __init__(self, classes: Mapping[str, Sequence[int]]) -> None:
        self._classes = classes
        self._before = self._read()
        self._peak = 0
        self._stopping = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
