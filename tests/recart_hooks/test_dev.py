import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from recart_hooks import dev
from recart_hooks.system import LogFiles, StartError, prepare, reachable


def test_a_line_is_written_behind_the_name_of_its_process(capsys: pytest.CaptureFixture[str]) -> None:
    dev.Terminal().write("worker.1", "ready")

    assert capsys.readouterr().out == "worker.1 | ready\n"


def test_the_env_file_does_not_override_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_BEFORE", "here")
    monkeypatch.delenv("SET_IN_FILE", raising=False)
    (tmp_path / ".env").write_text("# a comment\nSET_BEFORE=there\nSET_IN_FILE='in the file'\n#SET_NOWHERE=1\n")

    dev.read_env_file(tmp_path / ".env")

    assert (os.environ["SET_BEFORE"], os.environ["SET_IN_FILE"]) == ("here", "in the file")
    assert "SET_NOWHERE" not in os.environ
    monkeypatch.delenv("SET_IN_FILE")


def test_a_file_that_is_new_or_changed_or_gone_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "delivery" / "new.py"
    path.parent.mkdir()
    steps: list[Callable[[], object]] = [lambda: path.write_text("a"), lambda: path.write_text("b"), path.unlink]
    looks: list[object] = []

    def pause(_: float) -> None:
        looks.append(steps[len(looks)]())
        if path.exists():
            os.utime(path, ns=(0, len(looks)))  # two writes may happen within one tick of the clock

    changes = dev.changes(tmp_path, pause)

    assert [next(changes) for _ in range(3)] == [Path("delivery/new.py")] * 3


def test_files_that_stay_are_no_change(tmp_path: Path) -> None:
    class EnoughError(Exception):
        """Enough checks were made."""

    looks: list[float] = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        next(dev.changes(tmp_path, pause))


def test_what_processes_print_goes_to_a_file_each(tmp_path: Path) -> None:
    said: list[str] = []
    with LogFiles(tmp_path, said.append) as files:
        files.write("web", "one")
        files.write("beat", "two")
        files.write("web", "three")

    assert (tmp_path / "web.log").read_text() == "one\nthree\n"
    assert (tmp_path / "beat.log").read_text() == "two\n"
    assert said == []


def test_a_process_that_ended_is_spoken_of(tmp_path: Path) -> None:
    said: list[str] = []
    with LogFiles(tmp_path, said.append) as files:
        files.write("web", "ended with exit code 1; starts again in 0.5 s")

    assert said == [f"web ended with exit code 1; starts again in 0.5 s; its log is {tmp_path / 'web.log'}"]


def test_a_preparation_that_fails_says_which(capfd: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "DATABASE_URL": "mysql://nowhere"}

    with pytest.raises(StartError, match=r"manage.py migrate failed"):
        prepare(environment)
    assert "DATABASE_URL: expected postgresql://" in capfd.readouterr().err


@pytest.mark.parametrize(("name", "address"), [("WEB_BIND", "127.0.0.1:{}"), ("FLOWER_PORT", "{}")])
def test_a_port_that_is_taken_is_refused_before_anything_answers_there(name: str, address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address.format(taken.getsockname()[1])
        with pytest.raises(StartError, match=f"{name}={address}: the port is taken"):
            prepare({**os.environ, name: address})


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("0.0.0.0:8123", "127.0.0.1:8123"),
        ("[::]:8123", "127.0.0.1:8123"),
        (":8123", "127.0.0.1:8123"),
        ("127.0.0.1:8123", "127.0.0.1:8123"),
        ("[::1]:8123", "[::1]:8123"),
    ],
)
def test_what_listens_on_all_addresses_is_asked_at_a_name_that_it_answers_to(bind: str, address: str) -> None:
    assert reachable(bind) == address
