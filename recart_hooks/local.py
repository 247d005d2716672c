"""The environment of a system on one machine: embedded servers, generated secrets, loopback endpoints allowed.

Used by the demo, `make dev`, `python -m recart_hooks.stack` and the flow tests. Variables that are already set are
kept.
"""

import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from recart_hooks.ports import LOOPBACK, free_port
from recart_hooks.private_files import kept_secret, write_private
from recart_hooks.stack import Stack


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the processes listen on the loopback address."""

    web: int
    flower: int

    @classmethod
    def choose(cls) -> "Ports":
        """The usual ports, or free ones if those are taken."""
        web = free_port([8000, *range(8001, 8010)])
        return cls(web, free_port([5555, *range(5556, 5565)]))


def local_environment(stack: Stack, ports: Ports, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of the processes. Secrets are generated once and kept in the data directory.

    The variables that this function sets are also written to the file `env` in the data directory, for commands that
    are run beside the processes.
    """
    given = {**(more or {}), **{name: value for name, value in os.environ.items() if value}}
    bind = given.get("WEB_BIND", f"{LOOPBACK}:{ports.web}")
    flower_port = given.get("FLOWER_PORT", str(ports.flower))
    ours = {
        **stack.environment,
        "SECRET_KEY": kept_secret(stack.data_dir, "secret.key", lambda: secrets.token_urlsafe(50)),
        "ENCRYPTION_KEYS": kept_secret(stack.data_dir, "encryption.key", lambda: Fernet.generate_key().decode()),
        "ALLOWED_HOSTS": f"localhost,{LOOPBACK},[::1]",
        "PUBLIC_URL": f"http://localhost:{bind.rpartition(':')[2]}",
        "WEB_BIND": bind,
        "FLOWER_PORT": flower_port,
        "FLOWER_PASSWORD": kept_secret(stack.data_dir, "flower.password"),
        "FLOWER_URL": f"http://localhost:{flower_port}",
        "FLOWER_STATE_FILE": str(stack.data_dir / "flower.state"),
        "BEAT_SCHEDULE_FILE": str(stack.data_dir / "beat.schedule"),
        "STATIC_ROOT": str(stack.data_dir / "static"),
        "ENDPOINT_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
        "ENDPOINT_PORTS": "any",
        "LOG_FORMAT": "text",
        "DJANGO_SETTINGS_MODULE": "recart_hooks.settings",
        "PYTHONUNBUFFERED": "1",
        **(more or {}),
    }
    whole = {**ours, **given}
    write_env_file(env_file(stack.data_dir), {name: whole[name] for name in ours})
    return whole


def env_file(data_dir: Path) -> Path:
    return data_dir / "env"


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Writes the file in a form that shells and honcho read. It holds secrets, so only its owner may read it."""
    write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
