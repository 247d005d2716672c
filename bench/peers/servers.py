"""Servers that people would run instead, from their own binaries. Events are published to their HTTP API.

Each has the same job as we: an event for one partner, signed, every attempt recorded, on the same PostgreSQL with fsync
and the same Valkey with its append-only file. The publisher's CPU is not counted, neither theirs nor ours.
"""

import http.client
import json
import secrets
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.programs import START_S, Programs, ProgramsFailedError
from bench.seed import Group
from recart_hooks.ports import LOOPBACK, free_port, is_free
from recart_hooks.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Addressed(Group):
    """A group whose events are published to these addresses: the subjects of bench.load over HTTP."""

    addresses: Sequence[str] = ()

    @property
    def subjects(self) -> list[str]:
        return list(self.addresses)


class HttpServer(Programs):
    """Runs `binary` and creates `groups` over its API. `addressed()` says where a group's events are published."""

    def __init__(self, binary: Path, groups: Sequence[Group]) -> None:
        super().__init__({})
        self._binary = str(binary.resolve())
        self._groups = groups
        self._port = free_port()
        self._token = ""
        self._addresses: dict[str, list[str]] = {}

    @property
    def events_url(self) -> str:
        return f"http://{self._token}@{LOOPBACK}:{self._port}"

    def addressed(self, group: Group) -> Addressed:
        return Addressed(**asdict(group), addresses=self._addresses[group.name])

    def start(self) -> None:
        self.start_server()
        if not wait_until(lambda: not is_free(self._port), START_S):
            raise ProgramsFailedError(f"{self._binary} does not answer; {self._log_tail()}")
        self.log_in()
        for group in self._groups:
            self._addresses[group.name] = [self.add(group, number) for number in range(len(group.urls))]

    @abstractmethod
    def start_server(self) -> None: ...

    def log_in(self) -> None:
        """Overridden where the API issues the token."""

    @abstractmethod
    def add(self, group: Group, number: int) -> str:
        """Adds one partner and returns the address of its events."""

    def ask(self, method: str, path: str, content: object = None) -> Any:
        """Sends a request and returns the answer's JSON. Raises ProgramsFailedError if the server refuses."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=30)
        try:
            headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
            connection.request(method, path, None if content is None else json.dumps(content), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ProgramsFailedError(f"{method} {path}: {answer.status} {body[:500]!r}")
        return json.loads(body)


class Svix(HttpServer):
    """Svix with an application for each partner, as its documentation says, and Redis as queue and cache."""

    def start_server(self) -> None:
        self._settings |= {
            "SVIX_DB_DSN": self.stack.database_url,
            "SVIX_REDIS_DSN": self.stack.valkey.redis_url,
            "SVIX_QUEUE_TYPE": "redis",
            "SVIX_CACHE_TYPE": "redis",
            "SVIX_JWT_SECRET": secrets.token_hex(16),
            "SVIX_LISTEN_ADDRESS": f"{LOOPBACK}:{self._port}",
            "SVIX_WHITELIST_SUBNETS": "[127.0.0.0/8]",
            "RUST_LOG": "error",
        }
        self.run("migrate", program=self._binary)
        self._token = self.run("jwt", "generate", program=self._binary).split()[-1]
        self.spawn("server", program=self._binary)

    def add(self, group: Group, number: int) -> str:
        partner = group.partner_id(number)
        self.ask("POST", "/api/v1/app/", {"name": partner, "uid": partner})
        limit = {"rateLimit": 1} if group.rate_limit else {}
        self.ask("POST", f"/api/v1/app/{partner}/endpoint/", {"url": group.urls[number], **limit})
        return f'/api/v1/app/{partner}/msg/ {{"eventType":"order.placed","payload":'

    def is_idle(self) -> bool:
        delivered = "SELECT count(DISTINCT msg_id) FROM messageattempt WHERE status = 0"
        return self.number(f"SELECT count(*) - ({delivered}) FROM message") == 0


class Convoy(HttpServer):
    """Convoy with an endpoint and a subscription per partner, and without its limit of 1,000 events a minute."""

    def start_server(self) -> None:
        self._settings |= {
            "CONVOY_DB_TYPE": "postgres",
            "CONVOY_DB_DSN": f"{self.stack.database_url}?sslmode=disable",
            "CONVOY_REDIS_DSN": self.stack.valkey.redis_url,
            "CONVOY_QUEUE_PROVIDER": "redis",
            "CONVOY_CACHE_PROVIDER": "redis",
            "CONVOY_LIMITER_TYPE": "redis",
            "CONVOY_JWT_REALM_ENABLED": "true",
            "CONVOY_NATIVE_REALM_ENABLED": "true",
            "CONVOY_LOGGER_LEVEL": "error",
            "CONVOY_LOGGER_PROVIDER": "console",
            "CONVOY_ANALYTICS_ENABLED": "false",
            "PORT": str(self._port),
        }
        config = self.directory / "convoy.json"
        config.write_text("{}")
        self.run("migrate", "up", "--config", str(config), program=self._binary)
        self.spawn("server", "server", "--config", str(config), "--port", str(self._port), program=self._binary)

    def log_in(self) -> None:
        login = self.ask("POST", "/ui/auth/login", {"username": "superuser@default.com", "password": "default"})
        self._token = login["data"]["token"]["access_token"]
        organisation = self.ask("POST", "/ui/organisations", {"name": "bench"})["data"]["uid"]
        project = {"name": "bench", "type": "outgoing"}
        made = self.ask("POST", f"/ui/organisations/{organisation}/projects", project)["data"]
        self._token = made["api_key"]["key"]
        self.execute("UPDATE convoy.project_configurations SET ratelimit_count = 100000000")
        self._project = f"/api/v1/projects/{made['project']['uid']}"

    def add(self, group: Group, number: int) -> str:
        name = group.partner_id(number)
        content = {
            "name": name,
            "url": group.urls[number].replace(
                LOOPBACK, f"[::ffff:{LOOPBACK}]"
            ),  # Convoy refuses the plain loopback address
            "http_timeout": "10s",
        }
        endpoint = self.ask("POST", f"{self._project}/endpoints", content)["data"]["uid"]
        limit = {"rate_limit_config": {"count": 1, "duration": 10**9}} if group.rate_limit else {}
        self.ask("POST", f"{self._project}/subscriptions", {"name": name, "endpoint_id": endpoint, **limit})
        return f'{self._project}/events {{"endpoint_id":"{endpoint}","event_type":"order.placed","data":'

    def is_idle(self) -> bool:
        delivered = "SELECT count(*) FROM convoy.event_deliveries WHERE status = 'Success'"
        return self.number(f"SELECT count(*) - ({delivered}) FROM convoy.events") == 0
