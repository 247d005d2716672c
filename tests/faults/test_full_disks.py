"""The disk of each server is full."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from recart_hooks.stack import Server
from tests.faults.run import IN_FLIGHT, Stream, count_after
from tests.faults.watch import calm
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(400)]

HOT_TABLES = ("delivery_event", "delivery_delivery", "delivery_attempt")


@contextmanager
def tiny_disk(at: Path, megabytes: int) -> Iterator[None]:
    """Mounts a small file system. Skips the test if that is not possible."""
    at.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(at)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here: {getattr(error, 'stderr', error)}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(disk: Path) -> Path:
    """Fills the disk with a file and returns it, so that it can be removed."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**16, 2**12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                pass
    return ballast


@contextmanager
def on_tiny_disk(server: Server) -> Iterator[Path]:
    server.stop()
    shutil.rmtree(server.home)
    with tiny_disk(server.home, 24):
        server.start()
        yield server.home
        server.stop()
    server.start()


def test_valkey_has_no_disk_left(system: System, receiver: Receiver) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            ballast = fill(home)
            stream.flow_on(500)
            ballast.unlink()

    with on_tiny_disk(system.stack.valkey) as home:
        assert count_after(system, receiver, disturb).repeated <= 2 * IN_FLIGHT


def test_nats_has_no_disk_left(system: System, receiver: Receiver) -> None:
    """JetStream then turns itself off, so NATS must be restarted."""

    def disturb(stream: Stream) -> None:
        ballast = fill(home)
        stream.be_refused(2)
        ballast.unlink()
        system.stack.nats.stop()
        system.stack.nats.start()

    with on_tiny_disk(system.stack.nats) as home:
        assert count_after(system, receiver, disturb).repeated == 0


def test_postgresql_has_no_disk_left_for_its_tables(system: System, receiver: Receiver) -> None:
    disk = system.directory / "tiny"

    def disturb(stream: Stream) -> None:
        with calm(system):
            ballast = fill(disk)
            stream.flow_on(500)
            ballast.unlink()

    with tiny_disk(disk, 24):
        home = disk / "tablespace"
        home.mkdir()
        owner = system.stack.postgres.home.stat()
        shutil.chown(home, owner.st_uid, owner.st_gid)
        in_postgresql(system, f"CREATE TABLESPACE tiny LOCATION '{home}'")
        move(system, "tiny")
        try:
            assert count_after(system, receiver, disturb).repeated == 0
        finally:
            move(system, "pg_default")
            in_postgresql(system, "DROP TABLESPACE tiny")


def move(system: System, tablespace: str) -> None:
    for table in HOT_TABLES:
        in_postgresql(system, f"ALTER TABLE {table} SET TABLESPACE {tablespace}")


def in_postgresql(system: System, sql: str) -> None:
    with psycopg.connect(system.stack.database_url, autocommit=True) as connection:
        connection.execute(sql)
