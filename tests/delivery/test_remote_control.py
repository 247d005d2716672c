"""Workers refuse the commands of `celery control` and the option that would do harm or nothing."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.control import Panel

from delivery.remote_control import REFUSED, restrict
from recart_hooks.celery import restrict_operators


@pytest.fixture
def commands() -> dict[str, Any]:
    commands = dict(Panel.data)
    restrict(commands)
    return commands


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_is_refused_with_what_to_use_instead(commands: dict[str, Any], name: str) -> None:
    assert name in Panel.data

    assert commands[name](SimpleNamespace(), "any", argument="other") == {"error": REFUSED[name]}


def test_a_worker_consumes_no_queue_that_would_end_it() -> None:
    consumed: list[str] = []
    commands: dict[str, Any] = {"add_consumer": lambda _, queue: consumed.append(queue)}
    restrict(commands)

    refused = [commands["add_consumer"](SimpleNamespace(), queue=name) for name in ("partner.ptr_1", "other")]
    for name in ("partner.*", "maintenance"):
        commands["add_consumer"](SimpleNamespace(), queue=name)

    assert refused == [{"error": "workers consume partner.* and maintenance, no other queue"}] * 2
    assert consumed == ["partner.*", "maintenance"]


def test_a_worker_that_should_resize_itself_does_not_start() -> None:
    worker = SimpleNamespace(options={"autoscale": "10,2"})

    with pytest.raises(SystemExit, match="--autoscale: a worker keeps its size"):
        restrict_operators(sender=worker)
