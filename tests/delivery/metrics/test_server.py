"""Each process serves its metrics at a port of its own."""

from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Gauge
from pytest_django import Settings

from delivery.metrics.server import MetricsServer, serve, serve_process
from recart_hooks.ports import LOOPBACK, free_port


@pytest.fixture
def base_port() -> int:
    return free_port()


@pytest.fixture
def servers() -> Iterator[list[MetricsServer]]:
    started: list[MetricsServer] = []
    yield started
    for one in started:
        one.stop()


def registry(value: float) -> CollectorRegistry:
    made = CollectorRegistry()
    Gauge("recart_hooks_test", "A test.", registry=made).set(value)
    return made


def test_a_port_in_use_is_stepped_over(base_port: int, servers: list[MetricsServer]) -> None:
    for number in (1, 2):
        server = serve(registry(number), LOOPBACK, base_port)
        assert server is not None
        servers.append(server)
    first, second = servers
    assert first.port == base_port < second.port
    for one, shown in zip(servers, ("1.0", "2.0"), strict=True):
        with urlopen(f"http://{LOOPBACK}:{one.port}/metrics") as answer:
            assert f"recart_hooks_test {shown}" in answer.read().decode()


def test_an_address_that_is_not_ours_costs_the_metrics_only() -> None:
    assert serve(registry(1), "192.0.2.1", 9400) is None


def test_port_0_turns_it_off(settings: Settings) -> None:
    settings.METRICS_PORT = 0
    assert serve_process("worker") is None


def test_a_process_says_what_it_is(settings: Settings, base_port: int, servers: list[MetricsServer]) -> None:
    settings.METRICS_ADDRESS = LOOPBACK
    settings.METRICS_PORT = base_port
    server = serve_process("worker")
    assert server is not None
    servers.append(server)
    with urlopen(f"http://{LOOPBACK}:{server.port}/metrics") as answer:
        text = answer.read().decode()
    assert f'recart_hooks_build_info{{process="worker",version="{settings.VERSION}"}} 1.0' in text
    assert "process_cpu_seconds_total" in text
