"""Hears of every committed change of the configuration, so that processes can keep it in memory.

PostgreSQL announces them (migration 0002). `ChangeListener` is one thread with one connection of its own; when that
connection breaks, announcements may have been missed, so after each (re)connection it says "anything may have changed".
It needs a direct connection: PgBouncer in transaction mode does not pass LISTEN on.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import Error as DatabaseProblem
from django.db import connection

from partners.trouble import Trouble

logger = logging.getLogger(__name__)

CHANNEL = "partners_changed"
_POLL_S = 0.5
_RECONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class Change:
    """What changed: `kind` is "partner", "subscription", "event_type", or "everything" (with an empty id)."""

    kind: str
    id: str


EVERYTHING = Change("everything", "")


class ChangeListener:
    """Calls `on_change` from its own thread, in order of the commits. An exception in it is logged and survived."""

    def __init__(self, on_change: Callable[[Change], None]) -> None:
        self._on_change = on_change
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="change-listener", daemon=True)
        self.connected = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        trouble = Trouble(logger, "cannot hear of changes; trying again")
        while not self._stopping.is_set():
            try:
                with psycopg.connect(**_connection_parameters(), autocommit=True) as listening:
                    listening.execute(f"LISTEN {CHANNEL}")
                    self._tell(EVERYTHING)
                    trouble.over()
                    self.connected.set()
                    self._hear(listening)
            except (psycopg.Error, DatabaseProblem) as error:
                trouble.met(error)
                self.connected.clear()
                self._stopping.wait(_RECONNECT_S)
        connection.close()

    def _hear(self, listening: "psycopg.Connection[tuple[object, ...]]") -> None:
        while not self._stopping.is_set():
            for notice in listening.notifies(timeout=_POLL_S):
                kind, _, identifier = notice.payload.partition(":")
                self._tell(Change(kind, identifier))

    def _tell(self, change: Change) -> None:
        try:
            self._on_change(change)
        except (psycopg.Error, DatabaseProblem):
            connection.close()
            raise
        except Exception:
            logger.exception("a change could not be taken over", extra={"kind": change.kind, "id": change.id})


def _connection_parameters() -> dict[str, Any]:
    known = connection.get_connection_params()
    return {
        name: value
        for name, value in known.items()
        if name not in {"context", "cursor_factory", "pool", "prepare_threshold"}
    }
