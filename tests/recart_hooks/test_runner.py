import queue
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from recart_hooks.runner import Runner, procfile

SLEEPS = f"{sys.executable} -c 'import time; print(\"up\", flush=True); time.sleep(60)'"
PARENT = """
import sys, time
from recart_hooks.runner import Runner
runner = Runner({}, lambda *_: None, workers=2, commands={"web": sys.argv[1], "worker": sys.argv[1]})
runner.start()
print(*(program.process.pid for program in runner.programs.values()), flush=True)
time.sleep(60)
"""

Lines = queue.Queue[tuple[str, str]]


@pytest.fixture
def lines() -> Lines:
    return queue.Queue()


@pytest.fixture
def run(lines: Lines) -> Iterator[Callable[..., Runner]]:
    """Makes and starts runners whose output goes to `lines`, and stops them at the end."""
    runners: list[Runner] = []

    def make(workers: int = 1, **commands: str) -> Runner:
        runner = Runner({}, lambda name, line: lines.put((name, line)), workers=workers, commands=commands)
        runners.append(runner)
        runner.start()
        return runner

    yield make
    for runner in runners:
        runner.stop()


def test_the_procfile_has_the_five_processes_of_the_design() -> None:
    assert list(procfile()) == ["web", "bridge", "worker", "beat", "flower"]


def test_every_line_comes_with_the_name_of_its_process(run: Callable[..., Runner], lines: Lines) -> None:
    run(web="printf 'one\\ntwo\\n'")

    assert [lines.get(timeout=10), lines.get(timeout=10)] == [("web", "one"), ("web", "two")]


def test_workers_are_numbered_and_know_their_names(run: Callable[..., Runner], lines: Lines) -> None:
    run(workers=2, worker="sh -c 'echo $HONCHO_PROCESS_NAME'")

    assert sorted([lines.get(timeout=10), lines.get(timeout=10)]) == [
        ("worker.1", "worker.1"),
        ("worker.2", "worker.2"),
    ]


def test_programs_beside_the_interpreter_are_found(run: Callable[..., Runner], lines: Lines) -> None:
    run(web="python -c 'import sys; print(sys.prefix)'")

    assert lines.get(timeout=10) == ("web", sys.prefix)


def test_a_process_that_crashes_is_started_again(run: Callable[..., Runner], lines: Lines) -> None:
    runner = run(web=SLEEPS)
    assert lines.get(timeout=10) == ("web", "up")
    runner.keep_running()

    runner.programs["web"].kill()

    assert lines.get(timeout=10) == ("web", "ended with exit code 137; starts again in 0.5 s")
    assert lines.get(timeout=10) == ("web", "up")


def test_a_process_that_is_stopped_on_purpose_stays_down(run: Callable[..., Runner], lines: Lines) -> None:
    runner = run(web=SLEEPS, bridge="sh -c 'sleep 0.3'")
    lines.get(timeout=10)
    runner.keep_running()

    assert runner.programs["web"].stop() == 143
    lines.get(timeout=10)  # the watch thread has run: it reports the bridge, which ended by itself

    assert not runner.programs["web"].is_running
    assert lines.empty()


def test_a_restart_replaces_the_process(run: Callable[..., Runner], lines: Lines) -> None:
    runner = run(web=SLEEPS)
    lines.get(timeout=10)
    first = runner.programs["web"].process

    runner.restart(["web"])

    assert lines.get(timeout=10) == ("web", "up")
    assert runner.programs["web"].process is not first


def test_stop_ends_all_of_them(run: Callable[..., Runner], lines: Lines) -> None:
    runner = run(web=SLEEPS, beat=SLEEPS)
    lines.get(timeout=10)
    lines.get(timeout=10)

    runner.stop()

    assert not any(program.is_running for program in runner.programs.values())


def test_nothing_is_left_running_when_the_runner_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, SLEEPS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    processes = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(processes) == 3

    parent.kill()
    parent.communicate()

    assert psutil.wait_procs(processes, timeout=10)[1] == []
