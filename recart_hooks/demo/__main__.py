"""Runs the whole system until Ctrl-C. With `--smoke`, ends with exit code 0 once all published events have arrived."""

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import django
from django.conf import settings

from recart_hooks.demo.publisher import publish
from recart_hooks.demo.receiver import Receiver
from recart_hooks.demo.scoreboard import Scoreboard
from recart_hooks.demo.shop import Shop
from recart_hooks.local import env_file
from recart_hooks.private_files import kept_secret
from recart_hooks.stack import StackError
from recart_hooks.system import StartError, System, run_system
from recart_hooks.terminal import say

SUMMARY_EVERY_S = 15.0
SMOKE_PATIENCE_S = 45.0
SMOKE_PAUSE_S = 0.02


def main() -> int:
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    say("starting PostgreSQL, Valkey, NATS, web, bridge, workers, beat and Flower …")
    try:
        with run_system(options.data_dir, options.workers, say) as system:
            django.setup()
            return play(system, options)
    except (StackError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say(f"stopped; the data stays in {options.data_dir}")
        return 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recart_hooks.demo", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="where data is kept (default: .data)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--rate", type=float, default=2.0, help="events a second (default: 2)")
    parser.add_argument("--smoke", action="store_true", help="publish some events, wait for them, and end")
    parser.add_argument("--events", type=int, default=100, help="how many events --smoke publishes (default: 100)")
    return parser.parse_args()


def play(system: System, options: argparse.Namespace) -> int:
    """Seeds the database, starts the processes and publishes. Returns only for the smoke test: its exit code."""
    from recart_hooks.demo.seed import seed, seed_administrator, seed_key  # noqa: PLC0415 - needs the database

    password = kept_secret(options.data_dir, "admin.password")
    seed_administrator(password)
    scoreboard = Scoreboard(say, is_quiet=options.smoke)
    receiver = Receiver(scoreboard.arrive)
    receiver.start(seed(receiver.url))
    api_key = seed_key(options.data_dir / "demo.key")
    try:
        system.runner.start()
        system.runner.keep_running()
        system.wait_until_ready()
        run = f"{int(time.time()):x}"
        if options.smoke:
            return smoke(scoreboard, run, options.events)
        show_addresses(system, password, api_key)
        asyncio.run(sell(scoreboard, run, options.rate))
        return 0
    finally:
        receiver.stop()


async def sell(scoreboard: Scoreboard, run: str, rate: float) -> None:
    """Publishes for ever and prints a summary every SUMMARY_EVERY_S."""

    async def sum_up() -> None:
        while True:
            await asyncio.sleep(SUMMARY_EVERY_S)
            say(scoreboard.summary())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sum_up())
        tasks.create_task(publish(Shop(run).events(), scoreboard, 1 / rate))


def smoke(scoreboard: Scoreboard, run: str, count: int) -> int:
    """Publishes `count` events. Returns 0 if all arrived as published and PostgreSQL has recorded that."""
    from recart_hooks.demo.ledger import unfinished_deliveries  # noqa: PLC0415 - needs the database

    say(f"publishing {count} events to NATS …")
    asyncio.run(publish(Shop(run).events(), scoreboard, SMOKE_PAUSE_S, count))
    deadline = time.monotonic() + SMOKE_PATIENCE_S
    while time.monotonic() < deadline and (scoreboard.missing() or unfinished_deliveries(run)):
        time.sleep(0.1)
    problems = [*scoreboard.wrong, *scoreboard.missing(), *unfinished_deliveries(run)]
    for problem in problems[:20]:
        say(f"smoke: {problem}")
    say(scoreboard.summary())
    say(f"smoke: delivered {scoreboard.delivered} of {count} events")
    return 1 if problems or scoreboard.delivered < count else 0


def show_addresses(system: System, password: str, api_key: str) -> None:
    web, flower = system.environment["PUBLIC_URL"], system.environment["FLOWER_URL"]
    say("")
    say(f"  admin     {web}/admin/   login admin, password {password}")
    say(f"  API docs  {web}/api/docs/   key of Awesome Reviews {api_key}")
    say(f"  Flower    {flower}/   login {settings.FLOWER_USER}, password {settings.FLOWER_PASSWORD}")
    say(f"  metrics   {web}/metrics   for each process: see docs/operations.md")
    say(f"  NATS      {system.environment['NATS_URL']}   publish to events.<type>, for example events.orders.created")
    say(f"  logs      {system.logs}/")
    beside, variables = os.path.relpath(Path(sys.executable).parent), os.path.relpath(env_file(system.stack.data_dir))
    say(f"  commands  {beside}/honcho run -e {variables} {beside}/python manage.py inspect ID")
    say("")


if __name__ == "__main__":
    sys.exit(main())
