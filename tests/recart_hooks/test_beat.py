"""Beat goes on while Valkey is away."""

import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery
from celery.schedules import schedule

from delivery.broker import register
from recart_hooks.beat import Scheduler
from tests.proxy import Proxy

pytestmark = pytest.mark.servers


def test_an_outage_of_valkey_is_two_lines(valkey: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = urlsplit(valkey).port
    assert port is not None
    with Proxy(("127.0.0.1", port)) as wire:
        app = Celery("test_beat", broker=valkey.replace(f":{port}", f":{wire.port}"))
        register(app)
        app.conf.task_default_queue = "test_beat"
        beat = Scheduler(app, lazy=True)
        entry = beat.Entry(name="one", task="maintenance.one", schedule=schedule(60.0), app=app)
        wire.cut()
        beat.apply_entry(entry)
        beat.apply_entry(entry)
        wire.mend()
        beat.apply_entry(entry)
        with app.connection_for_write() as connection:
            channel: Any = connection.default_channel
            assert channel.queue_purge("test_beat") == 1
        app.close()
    lines = [one for one in caplog.records if one.name == "recart_hooks.beat" or one.levelno >= logging.WARNING]
    assert [one.getMessage() for one in lines] == ["tasks cannot be queued", "going on"]
