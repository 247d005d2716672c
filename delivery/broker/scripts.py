"""Runs the Lua scripts. Each change of a queue is one script, so a crash happens before or after it, never within."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoScriptError

from delivery.broker.naming import Naming

_LUA = Path(__file__).with_name("lua")


@dataclass(frozen=True, slots=True)
class Script:
    source: str
    sha: str


def _read(name: str) -> Script:
    shebang, _, body = (_LUA / f"{name}.lua").read_text().partition("\n")
    source = "\n".join((shebang, (_LUA / "common.lua").read_text(), body))
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_NAMES = ("adopt", "beat", "configure", "consistency", "exchange", "leave", "postpone", "publish", "purge", "stats")
SCRIPTS = {name: _read(name) for name in _NAMES}


class Scripts:
    """The scripts on one server with one naming. `clock`: Unix seconds instead of the server's time (for tests).

    As thread-safe as the client. Raises redis.RedisError. Loads a script that the server does not know.
    """

    def __init__(self, client: redis.Redis, naming: Naming, clock: float | None = None) -> None:
        self.client = client
        self.naming = naming
        self.clock = clock

    def run(self, name: str, *arguments: Any) -> Any:
        sha, *rest = self.evalsha(name, *arguments)
        try:
            return self.client.evalsha(sha, *rest)
        except NoScriptError:
            self.load(name)
            return self.client.evalsha(sha, *rest)

    def load(self, name: str) -> None:
        self.client.script_load(SCRIPTS[name].source)

    def evalsha(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """The arguments of EVALSHA."""
        clock = "" if self.clock is None else repr(self.clock)
        return (SCRIPTS[name].sha, 0, self.naming.global_prefix, self.naming.prefix, clock, *arguments)

    def command(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """The whole command, for a caller that sends it itself."""
        return ("EVALSHA", *self.evalsha(name, *arguments))
