"""The whole system under test: its own servers, the real processes of the Procfile, and clients of the servers.

    with System(directory) as system:
        system.seed([...])
        system.start("bridge", "worker-1", "worker-2")
        system.publish([("orders.created", "evt-1", b"{}")])
        system.wait_until(lambda: ..., "what is waited for")

Processes can be killed, stopped and started by name; `system.stack` does the same for servers.
"""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import nats
import psycopg
import redis
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from delivery.broker import FairQueues, connect
from recart_hooks.local import Ports, local_environment
from recart_hooks.ports import free_port
from recart_hooks.processes import Ending, Process
from recart_hooks.runner import PROJECT, procfile, start_command
from recart_hooks.stack import Stack
from tests.proxy import Proxy

_ENDING = Ending("TERM:60,KILL:5")
_SEED = """
import json, sys, django
django.setup()
from partners.services import create_partner, create_subscription, reveal_secrets
made = []
for partner in json.load(sys.stdin):
    subscriptions = partner.pop("subscriptions")
    row = create_partner(**partner)
    for subscription in subscriptions:
        one = create_subscription(row, **subscription)
        made.append({"partner_id": row.id, "subscription_id": one.id, "secret": reveal_secrets(one)[0]})
print(json.dumps(made))
"""


@dataclass(frozen=True, slots=True)
class Seeded:
    partner_id: str
    subscription_id: str
    secret: str


@dataclass
class System:
    """One installation in a directory of its own. Retries come after one second, unless `env` sets another schedule."""

    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    durable: bool = False
    is_wired: bool = False
    """Puts a proxy before each server, in `wires` by its name. Only the processes use it, not the tests' clients."""
    wires: dict[str, Proxy] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stack = Stack(self.directory, durable=self.durable, environ={})
        self.web_port, self.flower_port = free_port(), free_port()
        self.log = self.directory / "processes.log"

    def __enter__(self) -> Self:
        self.stack.start()
        more = {
            "RETRY_SCHEDULE_S": ",".join(["1"] * 30),
            "WORKER_CONCURRENCY": "16",
            "LOG_LEVEL": "INFO",
            **self.stack.environment,
            **(self._through_wires() if self.is_wired else {}),
            **self.env,
        }
        ours = local_environment(self.stack, Ports(self.web_port, self.flower_port), more)
        self.environment = {**ours, **more, "DJANGO_SETTINGS_MODULE": "recart_hooks.settings"}
        self.manage("migrate", "--verbosity", "0")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
        self.stack.stop()
        for wire in self.wires.values():
            wire.close()

    def _through_wires(self) -> dict[str, str]:
        """The servers' addresses, with the ports of their proxies."""
        addresses = {}
        for name, server in zip(self.stack.environment, self.stack.servers, strict=True):
            wire = self.wires[server.name] = Proxy(("127.0.0.1", server.port))
            addresses[name] = re.sub(rf":{server.port}\b", f":{wire.port}", self.stack.environment[name])
        return addresses

    def manage(self, *arguments: str) -> str:
        return self._run([sys.executable, "manage.py", *arguments])

    def seed(self, partners: Sequence[Mapping[str, Any]]) -> list[Seeded]:
        """Creates partners: fields of create_partner, with `subscriptions`, a list of fields of create_subscription."""
        return [Seeded(**one) for one in json.loads(self._run([sys.executable, "-c", _SEED], json.dumps(partners)))]

    def start(self, *names: str, env: Mapping[str, str] = {}) -> None:
        """Starts `bridge`, `web`, `beat`, `flower`, or a worker of any other name. `env` adds to the environment."""
        commands = procfile()
        for name in names:
            command = commands.get(name, commands["worker"])
            with self.log.open("ab") as log:
                self.processes[name] = start_command(
                    name, command, {**self.environment, **env}, output=log.fileno(), ending=_ENDING
                )

    def kill(self, name: str) -> None:
        """Kills a process with SIGKILL."""
        self.processes.pop(name).kill()

    def stop(self, name: str) -> int:
        """Stops a process with SIGTERM, as an operator or a rolling update does. Returns its exit code."""
        return self.processes.pop(name).stop()

    def replace(self, name: str) -> None:
        """Replaces a process by a new one, as a rolling update does. The old one must exit with 0.

        Waits for a worker or the bridge to start first: before that it has no signal handler, and SIGTERM kills it
        (exit code 143).
        """
        if name.startswith("worker"):
            self.wait_until(lambda: self.has_begun(name), f"{name} to fetch")
        if name == "bridge":
            self.wait_until(lambda: _handles_sigterm(self.processes[name].pid), f"{name} to begin")
        code = self.stop(name)
        assert code == 0, f"{name} ended with {code}\n{self.log_end()}"
        self.start(name)

    def has_begun(self, worker: str) -> bool:
        """Whether the broker knows the worker."""
        pid = str(self.processes[worker].pid)
        return any(pid in name.split(":") for name in FairQueues(self.valkey).workers())

    def stop_all(self) -> None:
        """Stops all processes at the same time."""
        for process in self.processes.values():
            process.ask_to_stop()
        for name in list(self.processes):
            self.stop(name)

    def publish(self, events: Iterable[tuple[str, str, bytes]]) -> None:
        """Publishes events (type, id, data) to JetStream. Returns when it has acknowledged them all."""
        asyncio.run(_publish(self.stack.nats_url, list(events)))

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.database_url) as connection:
            return connection.execute(sql, values).fetchall()

    def readyz(self) -> dict[str, str]:
        """The answer of /readyz."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/readyz", timeout=30) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except OSError as error:
            return {"status": str(error)}

    def forget(self) -> None:
        """Empties tables, queues and the stream, for the next test."""
        with psycopg.connect(self.stack.database_url) as connection:
            connection.execute(
                "TRUNCATE partners_partner, delivery_event, delivery_delivery, delivery_attempt, delivery_deadletter"
                " CASCADE"
            )
        self.valkey.flushdb()
        asyncio.run(_purge(self.stack.nats_url))

    def count(self, sql: str, *values: Any) -> int:
        return int(self.query(sql, *values)[0][0])

    def unfinished(self) -> int:
        return self.count("SELECT count(*) FROM delivery_delivery WHERE status = 'pending'")

    @property
    def valkey(self) -> "redis.Redis":
        return connect(self.stack.broker_url)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Checks the condition every 0.1 s. The AssertionError has the end of the log."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {timeout_s} s; the log ends with\n{self.log_end()}")
            time.sleep(0.1)

    def log_end(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _run(self, command: Sequence[str], stdin: str = "") -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=PROJECT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command[:4])} failed:\n{done.stderr}")
        return done.stdout


async def _publish(url: str, events: Sequence[tuple[str, str, bytes]]) -> None:
    client = await nats.connect(url, allow_reconnect=False, connect_timeout=2, error_cb=_say_nothing)
    stream = client.jetstream(publish_async_max_pending=500)
    await _stream_is_there(stream)
    waiting = [
        await stream.publish_async(f"events.{type_}", data, headers={"Nats-Msg-Id": event_id})
        for type_, event_id, data in events
    ]
    try:
        await asyncio.wait_for(asyncio.gather(*waiting), 10)  # an acknowledgement may never come
    finally:
        await client.close()


async def _stream_is_there(stream: JetStreamContext) -> None:
    """Waits for the stream, which the bridge creates when it starts."""
    deadline = time.monotonic() + 30
    while True:
        try:
            await stream.stream_info("EVENTS")
        except NotFoundError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def _purge(url: str) -> None:
    client = await nats.connect(url)
    with contextlib.suppress(NotFoundError):  # the server may have lost its disk
        await client.jetstream().purge_stream("EVENTS")
    await client.close()


async def _say_nothing(_: Exception) -> None:
    """Errors reach the caller of `publish` as exceptions, so none is printed here."""


def _handles_sigterm(pid: int) -> bool:
    """Whether the process has a handler. Only Linux tells; elsewhere it is assumed."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
