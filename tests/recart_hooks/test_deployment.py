"""The deployment files agree with the code."""

import re
import subprocess
import sys
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import yaml
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper

from recart_hooks.addresses import database_from_url
from recart_hooks.guides import GUIDES
from recart_hooks.runner import PROJECT, procfile
from recart_hooks.settings import env

COMPOSE_ONLY = {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return dict(loaded["services"])


def example_names() -> list[str]:
    return re.findall(r"^#?([A-Z][A-Z_]*)=", (PROJECT / ".env.example").read_text(), re.MULTILINE)


def test_the_example_lists_every_setting_once() -> None:
    names = example_names()

    assert sorted(names) == sorted(env.declared | COMPOSE_ONLY)


def test_compose_runs_the_commands_of_the_procfile(services: dict[str, Any]) -> None:
    ours = {name: service["command"] for name, service in services.items() if "build" in service}

    assert ours == {"migrate": "python manage.py migrate --no-input", **procfile()}


@pytest.mark.parametrize("target", ["demo", "smoke", "dev"])
def test_make_takes_another_directory_for_the_data(target: str) -> None:
    command = ["make", "--dry-run", f"VENV={sys.prefix}", target]

    usual = subprocess.check_output(command, cwd=PROJECT, text=True)
    other = subprocess.check_output([*command, "DATA=elsewhere"], cwd=PROJECT, text=True)

    assert "--data-dir .data" in usual
    assert "--data-dir elsewhere" in other


def test_one_image_runs_all_of_ours_and_not_as_root(services: dict[str, Any]) -> None:
    ours = [service for service in services.values() if "build" in service]

    assert {service["image"] for service in ours} == {"recart-hooks"}
    assert all(service["cap_drop"] == ["ALL"] for service in ours)
    assert re.findall(r"^USER (\w+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE) == ["recart"]


def test_the_image_has_the_guides_that_are_served() -> None:
    (copied,) = re.findall(r"^COPY (.*) docs/$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)

    assert copied.split() == [f"docs/{name}" for name in GUIDES]
    assert {f"!{name}" for name in copied.split()} <= set((PROJECT / ".dockerignore").read_text().split())


def test_the_database_password_is_part_of_no_url(services: dict[str, Any]) -> None:
    """There `/`, `@`, `%`, `#`, `?` and `:` would mean something."""
    password = services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    for name in ("migrate", *procfile()):
        environment = services[name]["environment"]
        assert urlsplit(environment["DATABASE_URL"]).password is None
        assert environment["PGPASSWORD"] == password


@pytest.mark.django_db(transaction=True)
def test_any_database_password_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    password, given = "12/3@%41#4?:[ä", connection.settings_dict
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE odd LOGIN PASSWORD %s", [password])
    address = f"{given['HOST']}:{given['PORT']}/{given['NAME']}"
    try:
        written = database_from_url(f"postgresql://odd:{quote(password, safe='')}@{address}")
        monkeypatch.setenv("PGPASSWORD", password)
        apart = database_from_url(f"postgresql://odd@{address}")
        for one in (written, apart):
            with psycopg.connect(**DatabaseWrapper({**given, **one}).get_connection_params()) as own:
                assert own.info.user == "odd"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP ROLE odd")


def test_every_lasting_service_has_a_health_check(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"migrate"}


def test_ours_start_when_the_servers_are_healthy_and_the_tables_are_there(services: dict[str, Any]) -> None:
    for name in procfile():
        conditions = {what: one["condition"] for what, one in services[name]["depends_on"].items()}
        assert conditions == {
            "migrate": "service_completed_successfully",
            "postgres": "service_healthy",
            "valkey": "service_healthy",
            "nats": "service_healthy",
        }


def test_the_servers_keep_what_they_hold(services: dict[str, Any]) -> None:
    assert "--appendonly yes" in services["valkey"]["command"]
    assert "--maxmemory-policy noeviction" in services["valkey"]["command"]
    assert "--jetstream --store_dir /data" in services["nats"]["command"]
    assert all(services[name]["volumes"] for name in ("postgres", "valkey", "nats"))


def test_nothing_but_this_host_reaches_the_published_ports(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_sets_only_settings_that_exist(services: dict[str, Any]) -> None:
    for service in services.values():
        if "build" in service:
            assert set(service["environment"]) <= env.declared | {"PGPASSWORD"}  # which libpq reads


def test_what_compose_asks_for_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", (PROJECT / "docker-compose.yml").read_text()))

    assert asked <= set(example_names())
