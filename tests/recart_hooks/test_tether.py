import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from recart_hooks.processes import CannotStartError, Ending, Process

IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
PARENT = """
import sys, time
from recart_hooks.processes import Process
process = Process([sys.executable, "-c", "import time; time.sleep(60)"], output=2)
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def output(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "output", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_command_that_ends_by_itself_gives_its_exit_code(output: int) -> None:
    assert Process(python("raise SystemExit(7)"), output=output).wait(10) == 7


def test_a_command_is_stopped_by_the_first_signal_of_its_ladder(output: int) -> None:
    process = Process(python("import time; time.sleep(60)"), output=output)

    assert process.stop() == 128 + signal.SIGTERM
    assert is_gone(process.pid)


def test_a_command_that_ignores_a_signal_gets_the_next_one(output: int, tmp_path: Path) -> None:
    process = Process(python(IGNORES_TERM), output=output, ending=Ending(ladder="TERM:0.2,KILL:5"))
    assert eventually(lambda: (tmp_path / "output").read_text() == "up\n")

    assert process.stop() == 128 + signal.SIGKILL


def test_a_kill_hits_the_command_itself(output: int) -> None:
    process = Process(python("import time; time.sleep(60)"), output=output)

    process.kill()

    assert process.wait(10) == 128 + signal.SIGKILL
    assert not process.is_running


def test_what_a_command_started_ends_with_it(output: int, tmp_path: Path) -> None:
    child = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    process = Process(python(child), output=output)

    process.wait(10)

    assert eventually(lambda: is_gone(int((tmp_path / "output").read_text())))


def test_a_command_that_does_not_exist_is_an_error_at_once(output: int) -> None:
    with pytest.raises(CannotStartError, match="/does/not/exist could not be started"):
        Process(["/does/not/exist"], output=output)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_ends_when_its_parent_is_killed(number: signal.Signals) -> None:
    parent = subprocess.Popen(python(PARENT), stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."})
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())

    parent.send_signal(number)
    parent.communicate()

    assert eventually(lambda: is_gone(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a parent's death")
def test_a_command_ends_when_its_tether_is_killed(output: int) -> None:
    process = Process(python("import time; time.sleep(60)"), output=output)
    tether = psutil.Process(process.pid).parent()
    assert tether is not None

    tether.kill()

    assert eventually(lambda: is_gone(process.pid))
    process.stop()
