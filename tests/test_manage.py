import os
import subprocess
import sys

from recart_hooks.runner import PROJECT


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
