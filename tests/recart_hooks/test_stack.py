import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nats
import psutil
import psycopg
import pytest
import redis

from recart_hooks.ports import free_port
from recart_hooks.runner import PROJECT
from recart_hooks.stack import Server, Stack, StackError, postgres

pytestmark = pytest.mark.servers

CHILD = """
import sys, time
from pathlib import Path
from recart_hooks.stack import Stack
with Stack(Path(sys.argv[1]), durable=False, environ={}) as stack:
    print(*(server.pid for server in stack.servers), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack, shared by the tests that leave it running."""
    with Stack(tmp_path_factory.mktemp("shared"), durable=False, environ={}) as stack:
        yield stack


def a_stack(data_dir: Path) -> Stack:
    return Stack(data_dir, durable=False, environ={})


def ask(stack: Stack, query: str) -> object:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def cache(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(stack.valkey.redis_url, decode_responses=True)


async def streams(stack: Stack, *added: str) -> list[str]:
    client = await nats.connect(stack.nats_url)
    try:
        for name in added:
            await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        return sorted(info.config.name or "" for info in await client.jetstream().streams_info())
    finally:
        await client.close()


def processes_that_mention(path: Path) -> list[int]:
    """Processes with this path in their command line (the servers) or working directory (PostgreSQL's children)."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(path) in " ".join(process.cmdline()) or str(path) in process.cwd():
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_all_three_servers_answer(shared: Stack) -> None:
    assert ask(shared, "SELECT current_database()") == "recart_hooks"
    assert cache(shared).ping() is True
    assert "ANSWERS" in asyncio.run(streams(shared, "ANSWERS"))


def test_text_is_sorted_by_code_point_and_letters_beyond_ascii_have_two_cases(shared: Stack) -> None:
    assert ask(shared, "SELECT lower('ŠÉ') || ('Z' < 'a')::text") == "šétrue"


def test_an_initdb_that_fails_leaves_no_password_and_shows_it_to_nobody(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initdb = tmp_path / "initdb"
    initdb.write_text('#!/bin/sh\nwhile [ "$1" != --pwfile ]; do shift; done\nls -l "$2"\nexit 1\n')
    initdb.chmod(0o755)
    monkeypatch.setattr(postgres, "binaries", lambda: tmp_path)
    stack = a_stack(data_dir)
    stack.own()

    with pytest.raises(StackError, match=r"(?s)initdb failed with 1;.*-rw-------"):
        stack.postgres.start()

    assert not list(data_dir.rglob("*.pwfile"))


def test_postgres_asks_for_a_password(shared: Stack) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{shared.postgres.port}/recart_hooks")


def test_the_servers_listen_on_the_loopback_address_only(shared: Stack) -> None:
    for server in shared.servers:
        addresses = {c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}


def test_data_and_ports_stay_for_the_next_start(data_dir: Path) -> None:
    with a_stack(data_dir) as first:
        ask(first, "CREATE TABLE kept (id int)")
        cache(first).set("kept", "yes")
        asyncio.run(streams(first, "KEPT"))

    with a_stack(data_dir) as second:
        assert second.environment == first.environment
        assert ask(second, "SELECT count(*) FROM kept") == 0
        assert cache(second).get("kept") == "yes"
        assert asyncio.run(streams(second)) == ["KEPT"]


def test_data_survives_a_kill_of_each_server(shared: Stack) -> None:
    ask(shared, "CREATE TABLE survives (id int)")
    cache(shared).set("survives", "yes")
    asyncio.run(streams(shared, "SURVIVES"))

    for server in shared.servers:
        server.kill()
        server.start()

    assert ask(shared, "SELECT count(*) FROM survives") == 0
    assert cache(shared).get("survives") == "yes"
    assert "SURVIVES" in asyncio.run(streams(shared))


def test_a_wiped_server_starts_empty_on_the_same_port(shared: Stack) -> None:
    cache(shared).set("forgotten", "yes")
    url = shared.broker_url

    shared.valkey.kill()
    shared.valkey.wipe()
    shared.valkey.start()

    assert shared.broker_url == url
    assert cache(shared).get("forgotten") is None


def test_a_running_server_cannot_be_wiped(shared: Stack) -> None:
    with pytest.raises(StackError, match="valkey is running"):
        shared.valkey.wipe()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_running_when_the_parent_is_killed(data_dir: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", CHILD, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = parent.stdout.readline().split()
    assert len(pids) == 3
    assert len(processes_that_mention(data_dir)) > 6  # three servers, their tethers, children of PostgreSQL, the parent

    parent.send_signal(number)
    parent.communicate()

    deadline = time.monotonic() + 15
    while processes_that_mention(data_dir) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes_that_mention(data_dir) == []


def test_a_start_right_after_a_kill_of_the_parent_waits_for_what_it_left(data_dir: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", CHILD, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    parent.communicate()

    with a_stack(data_dir) as stack:
        assert ask(stack, "SELECT 1") == 1


def test_a_server_that_outlived_its_run_is_ended_by_the_next_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recart_hooks.stack.server.LEFTOVER_S", 0.5)
    first = a_stack(data_dir)
    first.valkey.data_dir.mkdir()
    first.valkey.start()
    pid = first.valkey.pid

    second = a_stack(data_dir)
    second.valkey.start()

    assert second.valkey.pid != pid
    assert not first.valkey.is_running
    second.valkey.stop()
    first.valkey.stop()


def test_a_second_stack_in_the_same_directory_is_refused(shared: Stack) -> None:
    with pytest.raises(StackError, match=f"process {os.getpid()} runs a stack in .*: --data-dir DIR, or make … DATA"):
        a_stack(shared.data_dir).start()


def test_stacks_in_two_directories_do_not_meet(shared: Stack, data_dir: Path) -> None:
    with a_stack(data_dir) as other:
        cache(other).set("whose", "other")

        assert cache(shared).get("whose") is None
        assert {server.port for server in other.servers}.isdisjoint({server.port for server in shared.servers})


def test_a_port_that_is_taken_meanwhile_is_stepped_round(data_dir: Path) -> None:
    data_dir.mkdir()
    first = a_stack(data_dir).valkey
    first.start()
    first.stop()
    last_port = first.port
    with socket.create_server(("127.0.0.1", last_port)):
        stack = a_stack(data_dir)
        stack.valkey.start()
        try:
            assert stack.valkey.port != last_port
            assert cache(stack).ping() is True
        finally:
            stack.stop()


@pytest.mark.parametrize("name", ["postgres", "valkey", "nats"])
def test_a_port_that_is_taken_between_the_look_and_the_start_is_stepped_round(data_dir: Path, name: str) -> None:
    data_dir.mkdir()
    server: Server = getattr(a_stack(data_dir), name)
    chosen = server.port
    with socket.create_server(("127.0.0.1", chosen)):
        server.start()
        try:
            assert server.port != chosen
        finally:
            server.stop()


def test_nats_takes_the_port_where_its_clients_look_for_it_if_it_is_free(data_dir: Path) -> None:
    usual = free_port()
    data_dir.mkdir()
    (data_dir / "nats.port").write_text(str(free_port()))

    assert Stack(data_dir, environ={}, nats_port=usual).nats_url == f"nats://127.0.0.1:{usual}"
    with socket.create_server(("127.0.0.1", usual)):
        assert Stack(data_dir, environ={}, nats_port=usual).nats.port != usual


def test_looking_at_a_stack_that_runs_changes_nothing_about_it(shared: Stack) -> None:
    before = {path: path.read_text() for path in shared.data_dir.glob("*.port")}

    a_stack(shared.data_dir).environment  # noqa: B018 - reading it is the test

    assert {path: path.read_text() for path in shared.data_dir.glob("*.port")} == before


def test_a_command_runs_with_the_settings_of_the_servers(data_dir: Path) -> None:
    command = [sys.executable, "manage.py", "showmigrations", "delivery"]
    done = subprocess.run(
        [sys.executable, "-m", "recart_hooks.stack", "--data-dir", str(data_dir), "--", *command],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "[ ] 0001_initial" in done.stdout


def test_a_server_whose_address_is_given_is_left_out(data_dir: Path) -> None:
    given = {"DATABASE_URL": "postgresql://db.example/x", "BROKER_URL": "", "NATS_URL": "nats://nats.example"}

    stack = Stack(data_dir, environ=given)

    assert stack.servers == [stack.valkey]
    assert stack.environment == {**given, "BROKER_URL": stack.valkey.url}


def test_a_server_that_cannot_start_says_why(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir.mkdir()
    server: Server = a_stack(data_dir).valkey
    monkeypatch.setattr(server, "command", lambda: [sys.executable, "-c", "raise SystemExit('no room on the disk')"])

    with pytest.raises(StackError, match=r"(?s)valkey ended while it started.*no room on the disk"):
        server.start()
