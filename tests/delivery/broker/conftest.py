"""A Valkey for these tests alone, which they may wipe, stop and restart, and real Celery workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from delivery.broker import FairQueues
from tests.delivery.broker.servers import Broker
from tests.delivery.broker.workers import Workers


@pytest.fixture(scope="session")
def running_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("fair-broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def broker(running_broker: Broker) -> Broker:
    """Empty and running, whatever the last test did to it."""
    running_broker.start()
    running_broker.client.flushall()
    return running_broker


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return broker.client


@pytest.fixture
def queues(client: redis.Redis) -> FairQueues:
    return FairQueues(client)


@pytest.fixture
def workers(broker: Broker, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers: `workers.start("a")`. They are killed after the test."""
    running = Workers(broker, tmp_path)
    yield running
    running.kill_all()
