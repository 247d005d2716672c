"""How a server is told to misbehave, by its own settings."""

import psycopg

from tests.flow.system import System


def set_postgresql(system: System, name: str, value: str) -> None:
    """For all connections, those that are open as well."""
    with psycopg.connect(system.stack.database_url, autocommit=True, options=f"-c {name}=off") as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")
