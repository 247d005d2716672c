"""The demo, started as a person starts it: the whole system with real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(180)]


def start_demo(data_dir: Path, *options: str) -> subprocess.Popen[str]:
    """Starts the demo without the addresses and secrets of this test run; it makes its own."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "recart_hooks.demo", "--data-dir", str(data_dir), "--workers", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def wait_for(demo: subprocess.Popen[str], words: str) -> list[str]:
    """Reads the output up to the first line with these words and returns it."""
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line.rstrip())
        if words in line:
            return lines
    pytest.fail(f"{words!r} was never said:\n" + "\n".join(lines))


def test_the_smoke_test_delivers_every_event(tmp_path: Path) -> None:
    demo = start_demo(tmp_path / "data", "--smoke", "--events", "40")

    output, _ = demo.communicate()

    assert output.splitlines()[-1] == "smoke: delivered 40 of 40 events"
    assert demo.returncode == 0


def test_a_command_runs_beside_the_demo_as_it_says(tmp_path: Path) -> None:
    demo = start_demo(tmp_path / "data")
    said = wait_for(demo, "manage.py inspect ID")
    command = said[-1].split("commands")[1].replace("inspect ID", "showmigrations delivery")

    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=False)
    demo.kill()
    demo.communicate()

    assert (done.returncode, done.stderr) == (0, "")
    assert "[X] 0001_initial" in done.stdout


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGKILL])
def test_nothing_is_left_of_the_demo_when_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    demo = start_demo(tmp_path / "data", "--rate", "20")
    said = wait_for(demo, "✓ try 2")
    assert any("login admin" in line for line in said)
    assert any(line.startswith("  metrics   http://localhost:") for line in said)
    family = psutil.Process(demo.pid).children(recursive=True)
    assert len(family) > 15  # three servers, five processes, their tethers and children

    demo.send_signal(number)
    demo.communicate()

    assert psutil.wait_procs(family, timeout=45)[1] == []  # a worker that cannot record gets 35 s
    if number == signal.SIGINT:
        assert demo.returncode == 0
