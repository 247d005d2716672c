from pathlib import Path
from typing import Any

import pytest

from recart_hooks.demo.__main__ import show_addresses
from recart_hooks.runner import Runner
from recart_hooks.stack import Stack
from recart_hooks.system import System


def test_the_logins_are_those_that_are_set(tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.FLOWER_USER, settings.FLOWER_PASSWORD = "ops", "s3cret"
    environment = {"PUBLIC_URL": "http://web", "FLOWER_URL": "http://flower", "NATS_URL": "nats://here"}
    system = System(Stack(tmp_path), Runner(environment, lambda _name, _line: None), environment, tmp_path)

    show_addresses(system, "of the admin", "rk_key")

    shown = capsys.readouterr().out
    assert "http://flower/   login ops, password s3cret\n" in shown
    assert "login admin, password of the admin\n" in shown
