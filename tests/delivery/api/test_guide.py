"""Runs the commands of the partner guide in a shell; only addresses, ids and the key are replaced."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from partners.models import EventType
from recart_hooks.ports import free_port
from tests.api_calls import caller

GUIDE = Path(__file__).parents[3] / "docs" / "partner-guide.md"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("valkey", "local_endpoints")
def test_the_guide_leads_to_a_verified_webhook_and_its_commands_work(live_server: LiveServer, tmp_path: Path) -> None:
    EventType.objects.create(name="orders.created", sample='{"n": 1}')
    port = str(free_port())
    own = {
        "https://hooks.example.com": live_server.url,
        "rk_…": caller().token,
        "https://you.example.com/webhooks": f"http://localhost:{port}/",
        "9700": port,
        "python3 ": f"{sys.executable} ",
        "dlv_…": f"dlv_{'0' * 32}",
        "sleep 1": "until (exec 3<>/dev/tcp/localhost/$PORT) 2>&-; do sleep 0.1; done",
    }
    script = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    for theirs, ours in own.items():
        assert theirs in script
        script = script.replace(theirs, ours)

    done = subprocess.run(
        ["bash", "-c", f"PORT={port}\n{script}\nkill %1; wait"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert '"outcome":{"succeeded":true,"status_code":200' in done.stdout, done.stdout + done.stderr
    assert "verified orders.created evt_" in done.stdout
    problems = re.findall(r'"status":([45]\d\d)', done.stdout)
    assert problems == ["404", "404"], done.stdout  # the attempts and the retry of a delivery that is not there
