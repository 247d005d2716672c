import signal
import subprocess
import sys

import pytest

from recart_hooks.terminal import paint, say

TALKS = "from recart_hooks.terminal import say\nwhile True:\n    say('still here')"


def test_a_line_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    say("ready")

    assert capsys.readouterr().out == "ready\n"


def test_what_is_not_a_terminal_gets_no_colours() -> None:
    assert paint("✓", "green") == "✓"


def test_a_process_ends_when_nobody_reads_what_it_says() -> None:
    process = subprocess.Popen([sys.executable, "-c", TALKS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "still here\n"

    process.stdout.close()

    assert process.wait(30) == -signal.SIGTERM
    assert process.stderr.read() == ""
    process.stderr.close()
