import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from django.db import OperationalError, connection
from flower.options import options
from pytest_django import Settings
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from delivery import publish
from delivery.due import Due
from partners.services import create_partner
from recart_hooks import flower_app
from tests.proxy import Proxy

pytestmark = [pytest.mark.servers, pytest.mark.django_db(transaction=True)]


@dataclass(frozen=True)
class Page:
    url: str

    def get(self, path: str, password: str = "secret") -> requests.Response:
        return requests.get(self.url + path, auth=("flower", password), timeout=10)


@pytest.fixture
def page(valkey: str, settings: Settings) -> Iterator[Page]:
    """Flower's pages, served by a thread, without its listener for the workers' events."""
    settings.FLOWER_PASSWORD = "secret"
    flower_app.configure()
    loop, up = asyncio.new_event_loop(), threading.Event()
    socket, port = bind_unused_port()

    async def serve() -> None:
        flower = flower_app.make_flower()
        server = HTTPServer(flower)
        server.add_socket(socket)
        up.set()
        await stopping.wait()
        server.stop()
        flower.executor.shutdown()

    stopping = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    up.wait(10)
    yield Page(f"http://127.0.0.1:{port}")
    loop.call_soon_threadsafe(stopping.set)
    thread.join(10)
    loop.close()
    socket.close()


def queue_with(name: str, *due_at: float | None) -> str:
    """Creates a partner with deliveries that are due at these times. Returns the name of its queue."""
    partner = create_partner(name)
    publish.publish([Due(f"dlv_{name}_{at}", 1, partner.id, "orders.created", at) for at in due_at])
    return publish.queue_of(partner.id)


def test_the_broker_page_lists_the_queues_of_all_partners(page: Page) -> None:
    busy, idle = queue_with("Busy", None, 9e9), queue_with("Idle")

    text = page.get("/broker").text

    assert f"{busy} (Busy)" in text
    assert f"{idle} (Idle)" in text


def test_lengths_tell_what_is_ready_from_what_waits_for_its_time_the_fullest_first(page: Page) -> None:
    idle, busy = queue_with("Idle"), queue_with("Busy", None, 9e9)

    assert page.get("/api/queues/length").json()["active_queues"] == [
        {"name": f"{busy} (Busy)", "messages": 2, "messages_ready": 1, "messages_unacknowledged": 0},
        {"name": "maintenance", "messages": 0, "messages_ready": 0},
        {"name": f"{idle} (Idle)", "messages": 0, "messages_ready": 0, "messages_unacknowledged": 0},
    ]


def test_lengths_answer_503_while_valkey_is_away(page: Page, settings: Settings) -> None:
    settings.BROKER_URL = "fair://127.0.0.1:1/0"
    publish.queues.cache_clear()
    try:
        answer = page.get("/api/queues/length")
    finally:
        publish.queues.cache_clear()

    assert (answer.status_code, answer.text) == (503, "PostgreSQL or Valkey does not answer")


def test_the_id_of_a_task_stands_where_narrow_windows_show_it(page: Page) -> None:
    columns = re.findall(r"<th[^>]*>\s*(\w+)\s*</th>", page.get("/tasks").text)

    assert columns == ["Name", "args", "State", "UUID", "Received", "Runtime", "Worker"]


@pytest.mark.parametrize("path", ["/", "/tasks", "/broker", "/api/queues/length", "/api/workers"])
def test_nothing_is_shown_without_the_password(page: Page, path: str) -> None:
    assert page.get(path, password="guessed").status_code == 401


def test_nothing_can_be_changed(page: Page) -> None:
    answer = requests.post(f"{page.url}/api/worker/shutdown/worker", auth=("flower", "secret"), timeout=10)

    assert answer.status_code == 403


def test_it_does_not_start_without_a_password(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.FLOWER_PASSWORD = ""

    assert flower_app.main() == 2
    assert "FLOWER_PASSWORD is not set" in capsys.readouterr().err


def test_what_it_has_seen_is_kept_only_when_there_is_a_file_for_it(settings: Settings) -> None:
    settings.FLOWER_STATE_FILE = ""
    flower_app.configure()
    assert options.persistent is False

    settings.FLOWER_STATE_FILE = "/somewhere/state"
    flower_app.configure()
    assert (options.persistent, options.db) == (True, "/somewhere/state")


def test_a_page_gives_up_when_postgresql_has_vanished(postgres_wire: Proxy) -> None:
    def vanishes(execute: Callable[..., Any], *statement: Any) -> Any:
        connection.connection.longest_wait_s = 0.5
        postgres_wire.strand()
        return execute(*statement)

    def work() -> None:
        with connection.execute_wrapper(vanishes), pytest.raises(OperationalError, match="has not answered"):
            flower_app.list_queues()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result(30)
