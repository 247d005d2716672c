"""Makes servers misbehave by their own settings, and checks what /readyz then says."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.flow.system import System


def set_postgresql(system: System, name: str, value: str) -> None:
    """Changes a setting for all connections, including open ones."""
    with psycopg.connect(system.stack.database_url, autocommit=True, options=f"-c {name}=off") as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def read_only(system: System) -> Iterator[None]:
    """PostgreSQL is read-only inside, as after a failover that left us connected to a replica."""
    set_postgresql(system, "default_transaction_read_only", "on")
    try:
        yield
    finally:
        set_postgresql(system, "default_transaction_read_only", "off")


def start_web(system: System) -> None:
    system.start("web")
    system.wait_until(lambda: system.readyz()["status"] == "ok", "a ready web process")


def readyz_says(system: System, server: str, words: str) -> None:
    system.wait_until(lambda: words in system.readyz().get(server, ""), f"/readyz on {server}: {words}", 60)
    assert [name for name, state in system.readyz().items() if state != "ok" and name != "status"] == [server]
