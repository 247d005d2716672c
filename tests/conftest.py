"""Fixtures for all tests: the embedded servers, each started when the first test needs it."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import hypothesis
import pytest
from django.db import connection

from recart_hooks.stack import Server, Stack
from tests import settings
from tests.proxy import Proxy
from tests.receiver import Receiver

# Tests run on busy machines, where a slow example says nothing about the code.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack whose addresses are in the settings. The fixtures `postgres`, `valkey` and `nats` start its servers."""
    settings.stack.own()
    yield settings.stack
    settings.stack.stop()


def pytest_unconfigure() -> None:
    """Removes the data directory. Reading the addresses may create it, even if no test ran."""
    shutil.rmtree(settings.stack.data_dir, ignore_errors=True)


def start(stack: Stack, server: Server) -> None:
    """Starts the server, unless the environment names another one."""
    if server in stack.servers:
        server.start()


@pytest.fixture(scope="session")
def postgres(stack: Stack) -> str:
    """The address of a running PostgreSQL. Tests that use Django's `db` need not ask for it."""
    start(stack, stack.postgres)
    return stack.database_url


@pytest.fixture(scope="session")
def valkey(stack: Stack) -> str:
    """The broker URL of a running Valkey. All tests of a session share it: use keys of your own."""
    start(stack, stack.valkey)
    return stack.broker_url


@pytest.fixture(scope="session")
def nats(stack: Stack) -> str:
    """The address of a running NATS with JetStream. All tests of a session share it: use streams of your own."""
    start(stack, stack.nats)
    return stack.nats_url


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: str) -> None:
    """pytest-django requests this before it creates the test database, for which PostgreSQL must run."""


@pytest.fixture
def postgres_wire(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What lies between PostgreSQL and connections that are opened from now on; the test's own is there before."""
    connection.ensure_connection()
    address = urlsplit(postgres)
    with Proxy((address.hostname or "127.0.0.1", address.port or 5432)) as wire:
        monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        monkeypatch.setitem(connection.settings_dict, "PORT", str(wire.port))
        yield wire


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server of webhooks that listens."""
    with Receiver() as listening:
        yield listening
