"""What deliveries ask of PostgreSQL besides their batches shares few connections."""

import threading
import time

import pytest

from delivery.database import in_database
from delivery.turns import Turns
from tests.turns import start


@pytest.mark.django_db
@pytest.mark.servers
def test_however_many_ask_at_once_they_share_two_threads() -> None:
    turns = Turns("test", helpers=1)
    turns.start()

    def ask() -> int:
        time.sleep(0.001)
        return threading.get_ident()

    asked = [start(turns, in_database, ask) for _ in range(50)]
    threads = {one.result(30) for one in asked}
    turns.stop(30)
    assert len(threads) == 2
    assert threading.get_ident() not in threads
