import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from honcho.environ import parse

from recart_hooks.local import Ports, env_file, local_environment
from recart_hooks.ports import LOOPBACK, RANGE, free_port, is_free
from recart_hooks.private_files import kept_secret
from recart_hooks.settings import env
from recart_hooks.stack import Stack


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server((LOOPBACK, free_port())) as server:
        yield server.getsockname()[1]


def test_a_port_where_somebody_listens_is_stepped_round(taken: int) -> None:
    free = free_port()

    assert not is_free(taken)
    assert free_port([taken, free]) == free
    assert free_port([taken]) in RANGE


def test_a_port_where_somebody_listens_on_all_addresses_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", free_port())) as server:
        assert not is_free(server.getsockname()[1])


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    first = kept_secret(tmp_path, "key")

    assert kept_secret(tmp_path, "key") == first
    assert kept_secret(tmp_path, "other") != first
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_the_environment_holds_settings_and_what_python_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in env.declared:
        monkeypatch.delenv(name, raising=False)

    made = local_environment(Stack(tmp_path), Ports(web=8123, flower=5123))

    assert made["PUBLIC_URL"] == "http://localhost:8123"
    assert made["WEB_BIND"] == "127.0.0.1:8123"
    assert made["FLOWER_URL"] == "http://localhost:5123"
    ours = {name for name in made if name not in {*env.declared, "DJANGO_SETTINGS_MODULE", "PYTHONUNBUFFERED"}}
    assert not {name for name in ours if name.startswith(("FLOWER", "WEB", "ENDPOINT", "NATS"))}


def test_links_lead_to_the_addresses_that_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBLIC_URL", "FLOWER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEB_BIND", "127.0.0.1:8124")
    monkeypatch.setenv("FLOWER_PORT", "5124")

    made = local_environment(Stack(tmp_path), Ports(web=8123, flower=5123))

    assert made["PUBLIC_URL"] == "http://localhost:8124"
    assert made["FLOWER_URL"] == "http://localhost:5124"

    monkeypatch.setenv("PUBLIC_URL", "https://hooks.example.com")
    assert local_environment(Stack(tmp_path), Ports(8123, 5123))["PUBLIC_URL"] == "https://hooks.example.com"


def test_what_is_ours_stands_in_a_file_for_commands_that_only_its_owner_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://elsewhere")
    monkeypatch.setenv("SOMEBODY_ELSES", "theirs")
    data_dir = tmp_path / "with a space, # and it's quoted"
    data_dir.mkdir()

    made = local_environment(Stack(data_dir), Ports(web=8123, flower=5123))

    path = env_file(data_dir)
    assert path.stat().st_mode & 0o777 == 0o600
    read = parse(path.read_text())
    assert read == {name: made[name] for name in read}
    assert {"SECRET_KEY", "DATABASE_URL", "NATS_URL", "STATIC_ROOT"} <= read.keys()
    assert "SOMEBODY_ELSES" not in read
    in_a_shell = subprocess.check_output(["sh", "-ac", f". {shlex.quote(str(path))}; env -0"], text=True)
    assert {f"{name}={value}" for name, value in read.items()} <= set(in_a_shell.split("\0"))


def test_what_is_set_already_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://elsewhere")
    monkeypatch.setenv("WORKER_CONCURRENCY", "4")

    made = local_environment(Stack(tmp_path), Ports(web=8123, flower=5123))

    assert made["NATS_URL"] == "nats://elsewhere"
    assert made["WORKER_CONCURRENCY"] == "4"
