import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from recart_hooks.addresses import check_broker, database_from_url
from recart_hooks.env import Env, SettingError

Read = Callable[[Env], Any]


@pytest.mark.parametrize(
    ("value", "read", "expected"),
    [
        (" text ", lambda env: env.text("X"), "text"),
        ("", lambda env: env.text("X", "default"), "default"),
        ("7", lambda env: env.integer("X", 1), 7),
        ("", lambda env: env.integer("X", 1), 1),
        ("1.5", lambda env: env.seconds("X", 1), 1.5),
        ("Yes", lambda env: env.boolean("X", False), True),
        ("off", lambda env: env.boolean("X", True), False),
        ("a, b,,c ", lambda env: env.words("X"), ["a", "b", "c"]),
        ("", lambda env: env.words("X", ("d",)), ["d"]),
        ("1,2.5", lambda env: env.many_seconds("X", ()), (1.0, 2.5)),
        ("", lambda env: env.many_seconds("X", (3.0,)), (3.0,)),
        ("36500", lambda env: env.days("X", 1), 36_500),
        ("65535", lambda env: env.port("X", 1), 65_535),
        ("0", lambda env: env.port("X", 1, minimum=0), 0),
        ("1200/m", lambda env: env.request_rate("X", "1/s"), (1200, 60)),
        ("none", lambda env: env.request_rate("X", "1/s"), None),
        ("", lambda env: env.request_rate("X", "5/h"), (5, 3600)),
        ("80, 443", lambda env: env.ports("X", (1,)), (80, 443)),
        ("any", lambda env: env.ports("X", (1,)), ()),
        ("", lambda env: env.ports("X", (1,)), (1,)),
        ("10.0.0.0/8,::1/128", lambda env: env.networks("X"), (ip_network("10.0.0.0/8"), ip_network("::1/128"))),
        ("b", lambda env: env.choice("X", ("a", "b"), "a"), "b"),
        ("info", lambda env: env.choice("X", ("INFO", "ERROR"), "ERROR"), "INFO"),
    ],
)
def test_a_value_is_read_as_its_type(value: str, read: Read, expected: object) -> None:
    assert read(Env({"X": value})) == expected


def test_seconds_are_a_float_by_default_too() -> None:
    assert type(Env({}).seconds("X", 1)) is float


@pytest.mark.parametrize(
    ("value", "read", "problem"),
    [
        ("", lambda env: env.text("X"), "X is not set"),
        ("seven", lambda env: env.integer("X", 1), "X: expected a whole number, got 'seven'"),
        ("0", lambda env: env.integer("X", 1, minimum=1), "X: must be at least 1, got 0"),
        ("9", lambda env: env.integer("X", 1, maximum=8), "X: must be at most 8, got 9"),
        ("soon", lambda env: env.seconds("X", 1), "X: expected a number of seconds, got 'soon'"),
        ("inf", lambda env: env.seconds("X", 1), "X: expected a positive number of seconds, got inf"),
        ("nan", lambda env: env.seconds("X", 1), "X: expected a positive number of seconds, got nan"),
        ("31", lambda env: env.seconds("X", 1, minimum=1, maximum=30), "X: must be at most 30, got 31.0"),
        ("0.5", lambda env: env.seconds("X", 1, minimum=1, maximum=30), "X: must be at least 1, got 0.5"),
        ("maybe", lambda env: env.boolean("X", True), "X: expected true or false, got 'maybe'"),
        ("1,two", lambda env: env.many_seconds("X", ()), "X: expected numbers separated by commas, got '1,two'"),
        ("1,-2", lambda env: env.many_seconds("X", ()), "X: every number must be positive"),
        ("1,1e10", lambda env: env.many_seconds("X", ()), "X: every number must be positive and at most 3153600000"),
        ("1e10", lambda env: env.seconds("X", 1), "X: must be at most 3153600000, got 1"),
        ("36501", lambda env: env.days("X", 1), "X: must be at most 36500, got 36501"),
        ("0", lambda env: env.days("X", 1), "X: must be at least 1, got 0"),
        ("65536", lambda env: env.port("X", 1), "X: must be at most 65535, got 65536"),
        ("0", lambda env: env.port("X", 1), "X: must be at least 1, got 0"),
        (
            "1200",
            lambda env: env.request_rate("X", "none"),
            "X: expected requests per s, m or h such as 600/m, or none",
        ),
        ("1200/d", lambda env: env.request_rate("X", "none"), "X: expected requests per s, m or h"),
        ("0/m", lambda env: env.request_rate("X", "none"), "X: expected requests per s, m or h"),
        ("http", lambda env: env.ports("X", ()), "X: expected port numbers separated by commas, or `any`, got 'http'"),
        ("65536", lambda env: env.ports("X", ()), "X: expected port numbers"),
        ("9" * 5000, lambda env: env.ports("X", ()), "X: expected port numbers"),
        (",", lambda env: env.ports("X", (80,)), "X: expected port numbers separated by commas, or `any`, got ','"),
        ("10.0.0.1/8", lambda env: env.networks("X"), "X: 10.0.0.1/8 has host bits set"),
        ("c", lambda env: env.choice("X", ("a", "b"), "a"), "X: expected one of a, b, got 'c'"),
    ],
)
def test_a_value_that_is_wrong_is_named(value: str, read: Read, problem: str) -> None:
    with pytest.raises(SettingError, match=f"^{problem}".replace("(", r"\(")):
        read(Env({"X": value}))


def test_a_secret_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    environ = {"X_FILE": str(tmp_path / "secret"), "X": "from the variable"}

    assert Env(environ).text("X") == "from the file"


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(SettingError, match="X_FILE: cannot read '/does/not/exist'"):
        Env({"X_FILE": "/does/not/exist"}).text("X")


def test_every_name_that_was_read_is_known() -> None:
    env = Env({})
    env.text("A", "")
    env.words("B")

    assert env.declared == {"A", "B"}


def test_a_database_url_has_all_its_parts() -> None:
    parts = database_from_url("postgresql://ada:p%40ss@db.example:6543/hooks?sslmode=require")

    assert {name: parts[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")} == {
        "USER": "ada",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "6543",
        "NAME": "hooks",
    }
    options = parts["OPTIONS"]
    assert isinstance(options, dict)
    assert (options["connect_timeout"], options["sslmode"], options["tcp_user_timeout"]) == (5, "require", 20_000)


def test_a_database_url_can_name_a_socket() -> None:
    assert database_from_url("postgresql://ada@/hooks?host=/run/postgresql")["HOST"] == "/run/postgresql"


def test_a_database_that_is_not_postgresql_is_refused() -> None:
    with pytest.raises(SettingError, match="DATABASE_URL: expected postgresql://…, got the scheme 'mysql'"):
        database_from_url("mysql://localhost/hooks")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://:s3cret@host/0", r"BROKER_URL: .* got the scheme 'redis'$"),
        ("", "BROKER_URL"),
        ("fairsentinel://one:26379", "BROKER_MASTER_NAME is not set"),
    ],
)
def test_a_broker_that_cannot_be_used_is_refused(url: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        check_broker(url, "")
    check_broker("fairsentinel://one:26379;fairsentinel://two:26379", "main")


@pytest.mark.parametrize("password", ["abc/1", "abc#1", "abc?1", "abc[1", "12/abc", "12#abc", "12?abc", "1@abc/2"])
def test_a_database_url_that_cannot_be_read_is_named_but_not_shown(password: str) -> None:
    with pytest.raises(SettingError, match="DATABASE_URL: cannot be read") as raised:
        database_from_url(f"postgresql://postgres:{password}@postgres:5432/recart_hooks")

    assert "abc" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("API_RATE_LIMIT", "1200", "expected requests"),
        ("API_PUBLISH_RATE_LIMIT", "1200", "expected requests"),
        ("API_TEST_RATE_LIMIT", "1200", "expected requests"),
        ("LOG_LEVEL", "verbose", "expected one of DEBUG, INFO"),
        ("EVENTS_KEPT_DAYS", "1000000", "must be at most"),
        ("TRIAL_EVERY_HOURS", "100000000000", "must be at most"),
        ("METRICS_PORT", "70000", "must be at most"),
        ("FLOWER_PORT", "70000", "must be at most"),
        ("EMAIL_PORT", "70000", "must be at most"),
    ],
)
def test_a_setting_that_is_wrong_ends_the_start(name: str, value: str, problem: str) -> None:
    starting = subprocess.run(
        [sys.executable, "-c", "import recart_hooks.settings"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=False,
    )

    assert starting.returncode == 1
    assert f"SettingError: {name}: {problem}" in starting.stderr
