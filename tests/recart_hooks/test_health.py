from typing import Any

import pytest
from django.test import Client

from recart_hooks.ports import free_port

pytestmark = [pytest.mark.servers, pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


def test_one_of_several_nats_servers_is_enough(client: Client, settings: Any, nats: str) -> None:
    settings.NATS_URL = f"nats://127.0.0.1:{free_port()}, {nats}"
    assert client.get("/readyz").json() == {"status": "ok", "postgresql": "ok", "valkey": "ok", "nats": "ok"}


@pytest.mark.parametrize(
    ("address", "problem"),
    [("nats://127.0.0.1:{closed}", "Connection refused"), ("nats://127.0.0.1:port", "Port could not be cast")],
)
def test_what_is_wrong_with_nats_is_said(client: Client, settings: Any, address: str, problem: str) -> None:
    settings.NATS_URL = address.format(closed=free_port())
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert problem in answer.json()["nats"]
