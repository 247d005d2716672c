"""Each test has an intake of its own, because the database is emptied after each."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from delivery.intake import stop_intake
from delivery.trying import shared_sender


@pytest.fixture(autouse=True)
def _own_intake() -> Iterator[None]:
    yield
    stop_intake()


@pytest.fixture
def local_endpoints(settings: Any) -> Iterator[None]:
    """Allows endpoints on this machine, also for the sender that a process creates once."""
    settings.ENDPOINT_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    shared_sender.cache_clear()
    yield
    shared_sender.cache_clear()
