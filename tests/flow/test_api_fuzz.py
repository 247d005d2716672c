"""Fuzzes the running API with schemathesis, from its OpenAPI document; see schemathesis.toml."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recart_hooks.runner import PROJECT
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(900)]

SCOPES = ("partner", "read_only", "producer", "catalogue")
LIMITS = {"API_RATE_LIMIT": "1000000/m", "API_TEST_RATE_LIMIT": "100000/m"}
_KEYS = """
from partners.keys import create_key
from partners.models import Partner
import json, sys
of = {"partner": Partner.objects.get(), "read_only": Partner.objects.get()}
print(json.dumps({scope: create_key(scope, scope, of.get(scope)).token for scope in %r}))
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("fuzz"), LIMITS) as system, Receiver() as receiver:
        arrives = {"url": receiver.url("/ok"), "event_types": ["*"]}
        dies = {"url": receiver.url("/status/400"), "event_types": ["orders.*"], "retry_schedule_s": [1]}
        system.seed([{"name": "Fuzz", "subscriptions": [arrives, dies]}])
        system.manage("event_types", "sync", "partners/catalogues/ecommerce.yaml")
        system.start("bridge", "web", "worker-1")
        system.publish((f"orders.{name}", f"order/{name}", b'{"n": 1.10}') for name in ("created", "paid", "sent"))
        finished = "SELECT count(*) FROM delivery_delivery WHERE status = %s"
        system.wait_until(lambda: system.count(finished, "succeeded") == 3, "three arrived")
        system.wait_until(lambda: system.count(finished, "dead") == 3, "three are dead")
        system.wait_until(lambda: system.readyz().get("status") == "ok", "the web process answers")
        yield system


@pytest.fixture(scope="module")
def keys(system: System) -> dict[str, str]:
    return dict(json.loads(system.manage("shell", "--no-imports", "-c", _KEYS % (SCOPES,))))


@pytest.mark.parametrize("scope", SCOPES)
def test_schemathesis_finds_no_failure(system: System, keys: dict[str, str], scope: str, tmp_path: Path) -> None:
    config = ["--config-file", str(PROJECT / "schemathesis.toml")]
    address = f"http://127.0.0.1:{system.web_port}/api/schema/"
    limits = ["--max-examples", "25", "--workers", "1", "--request-timeout", "30", "--no-color"]
    command = [str(Path(sys.executable).parent / "schemathesis"), *config, "run", address, *limits]

    done = subprocess.run(
        [*command, "--header", f"Authorization: Bearer {keys[scope]}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
