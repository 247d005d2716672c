"""The broker's queues for tests of one process."""

from collections.abc import Iterator

import pytest

from delivery import publish
from delivery.broker import FairQueues


@pytest.fixture
def wiped_queues(valkey: str) -> Iterator[FairQueues]:
    """Empty before and after, as in a Valkey that was wiped."""
    own = publish.queues()
    own.client.flushdb()
    yield own
    own.client.flushdb()


@pytest.fixture
def queues(wiped_queues: FairQueues) -> FairQueues:
    """Empty, and marked as complete, like the queues of a running system."""
    wiped_queues.mark()
    return wiped_queues
