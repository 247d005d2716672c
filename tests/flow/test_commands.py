"""Every command of docker-compose.yml that runs our image also runs outside a container."""

import queue
from collections.abc import Iterator

import pytest
import yaml

from recart_hooks.local import Ports, local_environment
from recart_hooks.ports import free_port
from recart_hooks.runner import PROJECT, Program
from recart_hooks.stack import Stack
from recart_hooks.system import prepare

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(180)]

COMMANDS = {
    name: service["command"]
    for name, service in yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"].items()
    if "build" in service
}
SAID_WHEN_READY = {
    "web": "Listening at: http://127.0.0.1:",
    "bridge": "delivery.bridge: ready",
    "worker": " ready.",
    "beat": "Sending due task",  # it ends with an error if it is stopped while it opens its schedule
    "flower": "recart_hooks.flower: ready",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a prepared system."""
    with Stack(tmp_path_factory.mktemp("commands"), durable=False, environ={}) as stack:
        ports = Ports(web=free_port(), flower=free_port())
        made = {**local_environment(stack, ports), **stack.environment}
        prepare(made)
        yield made


@pytest.mark.parametrize("name", SAID_WHEN_READY)
def test_a_lasting_command_starts_and_stops(environment: dict[str, str], name: str) -> None:
    lines: queue.Queue[str] = queue.Queue()
    program = Program(name, COMMANDS[name], environment, lambda _, line: lines.put(line))

    program.start()
    try:
        while SAID_WHEN_READY[name] not in (line := lines.get(timeout=90)):
            assert "Traceback" not in line
    finally:
        code = program.stop()

    assert code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_at_once_without_a_usable_encryption_key(environment: dict[str, str], name: str) -> None:
    lines: list[str] = []
    environment = {**environment, "ENCRYPTION_KEYS": "abc"}
    program = Program(name, COMMANDS[name], environment, lambda _, line: lines.append(line))

    program.start()
    assert program.process is not None
    code = program.process.wait(90)
    program.stop()

    assert code
    assert "(partners.E001) ENCRYPTION_KEYS: " in "\n".join(lines)


def test_the_migration_has_nothing_left_to_do(environment: dict[str, str]) -> None:
    lines: list[str] = []
    program = Program("migrate", COMMANDS["migrate"], environment, lambda _, line: lines.append(line))

    program.start()
    assert program.process is not None
    code = program.process.wait(90)
    program.stop()

    assert code == 0
    assert "No migrations to apply." in "\n".join(lines)
