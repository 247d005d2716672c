"""`python -m recart_hooks.stack`: runs only the embedded servers, until Ctrl-C.

With a command after `--`, it runs that command with the settings of these servers and ends when the command does:
`.venv/bin/python -m recart_hooks.stack -- .venv/bin/python manage.py migrate`.
While a demo runs, use `.venv/bin/honcho run -e .data/env .venv/bin/python manage.py …` instead.
"""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from recart_hooks.local import Ports, local_environment
from recart_hooks.stack import Stack, StackError
from recart_hooks.stack.nats import USUAL_PORT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recart_hooks.stack", description="Runs the embedded servers.")
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="where data is kept (default: .data)")
    parser.add_argument("command", nargs="*", help="command to run with the settings of these servers")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Stack(options.data_dir, nats_port=USUAL_PORT) as stack:
            environment = local_environment(stack, Ports.choose())
            for name, value in stack.environment.items():
                print(f"{name}={value}", flush=True)  # noqa: T201 - this is its output
            if options.command:
                return subprocess.call(options.command, env=environment)  # noqa: S603
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except StackError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is its output
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
