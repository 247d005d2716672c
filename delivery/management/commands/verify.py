"""`manage.py verify`: checks the invariants of database and broker. Names broken ones, and exits with 1."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from delivery import publish
from delivery.management.arguments import Progress, moment
from delivery.management.operators import OperatorCommand
from delivery.verify import Broken, hours, verify_broker, verify_hour

_DAY = timedelta(days=1)


class Command(OperatorCommand):
    help = "Checks the invariants of deliveries and attempts since a time, of the broker, and between both."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since", type=moment, metavar="TIME", help="created since: 3h, 2d or a time (default: 1d)"
        )
        parser.add_argument("--no-broker", action="store_true", help="check PostgreSQL only")

    def handle(self, *args: Any, **options: Any) -> None:
        now = datetime.now(UTC)
        complete = now - timedelta(days=settings.ATTEMPTS_KEPT_DAYS) + _DAY  # older attempts have been removed
        pieces = list(hours(max(options["since"] or now - _DAY, complete), now))
        progress, broken = Progress(self.stderr, "hours checked", len(pieces)), 0
        for piece in pieces:
            broken += self._report(verify_hour(piece))
            progress.add()
        if not options["no_broker"]:
            broken += self._report(verify_broker(publish.queues()))
        if broken:
            raise CommandError(f"{broken} broken")
        self.stdout.write("all invariants hold")

    def _report(self, found: Iterable[Broken]) -> int:
        count = 0
        for one in found:
            self.stdout.write(str(one))
            count += 1
        return count
