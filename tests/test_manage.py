import os
import re
import subprocess
import sys

from django.core.management import BaseCommand, get_commands, load_command_class

from recart_hooks.runner import PROJECT


def test_operations_md_names_each_option_of_our_commands() -> None:
    rows = dict(re.findall(r"^\| `(\w+) ?(.*)$", (PROJECT / "docs/operations.md").read_text(), re.MULTILINE))
    ours = [name for name, app in get_commands().items() if app in {"delivery", "partners"} and name != "bridge"]
    assert len(ours) == 8
    for name in ours:
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        options = set(re.findall(r"--[a-z-]+", parser.format_help())) - set(re.findall(r"--[a-z-]+", _common()))
        assert {one for one in options if one not in rows[name]} == set(), name


def _common() -> str:
    return BaseCommand().create_parser("manage.py", "any").format_help()


def test_a_setting_that_is_missing_is_told_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "inspect", "dlv_1"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("SECRET_KEY is not set (")
    assert "honcho run -e .data/env .venv/bin/python manage.py" in line
