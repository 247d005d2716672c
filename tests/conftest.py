"""Fixtures for all tests: the embedded servers, each started when the first test needs it."""

import shutil
from collections.abc import Iterator

import hypothesis
import pytest

from recart_hooks.stack import Server, Stack
from tests import settings

# Machines that run tests are busy: a slow example says nothing about the code.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack whose addresses the settings have. Its servers start with `postgres`, `valkey` and `nats`."""
    settings.stack.own()
    yield settings.stack
    settings.stack.stop()


def pytest_unconfigure() -> None:
    """Also where no test ran: asking for the addresses is enough to make the directory."""
    shutil.rmtree(settings.stack.data_dir, ignore_errors=True)


def start(stack: Stack, server: Server) -> None:
    """Starts the server unless the environment named another one."""
    if server in stack.servers:
        server.start()


@pytest.fixture(scope="session")
def postgres(stack: Stack) -> str:
    """The address of a running PostgreSQL. Tests that use Django's `db` need not ask for it."""
    start(stack, stack.postgres)
    return stack.database_url


@pytest.fixture(scope="session")
def valkey(stack: Stack) -> str:
    """The address of a running Valkey, as a broker URL. The tests of one session share it: use keys of your own."""
    start(stack, stack.valkey)
    return stack.broker_url


@pytest.fixture(scope="session")
def nats(stack: Stack) -> str:
    """The address of a running NATS with JetStream. The tests of one session share it: use streams of your own."""
    start(stack, stack.nats)
    return stack.nats_url


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: str) -> None:
    """pytest-django's hook before it makes the test database: the server has to run."""
