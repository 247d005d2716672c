"""Limits how many partners do something at the same time that holds a thread of the web process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):  # noqa: N818 - a name for what it is
    """The partner has a place already, or all places are taken."""


class Places:
    """Each partner has at most one place, and all together have at most `limit`. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partners: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, partner_id: str) -> Iterator[None]:
        """Holds a place. Raises Busy."""
        with self._lock:
            if partner_id in self._partners or len(self._partners) >= self._limit:
                raise Busy
            self._partners.add(partner_id)
        try:
            yield
        finally:
            with self._lock:
                self._partners.remove(partner_id)
