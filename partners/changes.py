"""Notifies a process of committed changes to the configuration, so that it can keep the configuration in memory.

PostgreSQL announces the changes (migration 0002). `ChangeListener` has a thread and a connection of its own. While the
connection is broken, announcements are missed, so after each connect it reports that everything may have changed. Twice
a second it checks that the server answers, since one that has vanished announces nothing. It needs a direct connection:
PgBouncer in transaction mode does not support LISTEN.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from django.db import Error as DatabaseProblem
from django.db import connection

from partners.connections import BoundedConnection, bound_connection
from partners.trouble import Trouble

logger = logging.getLogger(__name__)

CHANNEL = "partners_changed"
_POLL_S = 0.5
_RECONNECT_S = 1.0
_LONGEST_SILENCE_S = 5.0
_LONGEST_LOAD_S = 10.0
"""For the answer to each SQL statement of `on_changes`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What changed: `kind` is "partner", "subscription", "event_type", or "everything" (with an empty id)."""

    kind: str
    id: str


EVERYTHING = Change("everything", "")


class ChangeListener:
    """Calls `on_changes` in its own thread, in the order of the commits: with all that have arrived, each once, so that
    a thousand changes of one partner do not keep those of others waiting.

    An exception in `on_changes` is logged; one of the database makes the listener connect again.
    """

    def __init__(
        self, on_changes: Callable[[Sequence[Change]], None], longest_silence_s: float = _LONGEST_SILENCE_S
    ) -> None:
        self._on_changes = on_changes
        self._longest_silence_s = longest_silence_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="change-listener", daemon=True)
        self.connected = threading.Event()
        """Set while changes are received, from when `on_changes` has returned from EVERYTHING."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        trouble = Trouble(logger, "cannot listen for changes; trying again")
        while not self._stopping.is_set():
            try:
                with BoundedConnection.connect(**connection.get_connection_params(), autocommit=True) as listening:
                    listening.longest_wait_s = self._longest_silence_s
                    listening.execute(f"LISTEN {CHANNEL}")
                    self._tell([EVERYTHING])
                    trouble.over()
                    self.connected.set()
                    self._hear(listening)
            except (psycopg.Error, DatabaseProblem) as error:
                trouble.met(error)
                self.connected.clear()
                self._stopping.wait(_RECONNECT_S)
        connection.close()

    def _hear(self, listening: BoundedConnection) -> None:
        while not self._stopping.is_set():
            listening.execute("SELECT 1")
            notices = listening.notifies(timeout=_POLL_S, stop_after=1)
            if changes := list(dict.fromkeys(_change(notice.payload) for notice in notices)):
                self._tell(changes)

    def _tell(self, changes: Sequence[Change]) -> None:
        try:
            bound_connection(_LONGEST_LOAD_S)
            self._on_changes(changes)
        except (psycopg.Error, DatabaseProblem):
            connection.close()
            raise
        except Exception:
            if len(changes) > 1:  # one of them is at fault, and must not stop the others
                for one in changes:
                    self._tell([one])
            else:
                logger.exception("a change could not be applied", extra={"kind": changes[0].kind, "id": changes[0].id})


def _change(payload: str) -> Change:
    kind, _, identifier = payload.partition(":")
    return Change(kind, identifier)
