"""`manage.py verify`: says which invariant of the database and the broker does not hold. Exit 1 when one does not."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from delivery import publish
from delivery.management.arguments import Progress, moment
from delivery.verify import Broken, hours, verify_broker, verify_hour

_DAY = timedelta(days=1)


class Command(BaseCommand):
    help = "Looks for what must not be: in deliveries and attempts since a time, in the broker, and between them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=moment, metavar="TIME", help="deliveries made since: 3h, 2d or a time (1d)")
        parser.add_argument("--no-broker", action="store_true", help="looks at PostgreSQL only")

    def handle(self, *args: Any, **options: Any) -> None:
        now = datetime.now(UTC)
        complete = now - timedelta(days=settings.ATTEMPTS_KEPT_DAYS) + _DAY  # older ones have lost attempts by age
        pieces = list(hours(max(options["since"] or now - _DAY, complete), now))
        progress, broken = Progress(self.stderr, "hours looked at", len(pieces)), 0
        for piece in pieces:
            broken += self._tell(verify_hour(piece))
            progress.add()
        if not options["no_broker"]:
            broken += self._tell(verify_broker(publish.queues()))
        if broken:
            raise CommandError(f"{broken} broken")
        self.stdout.write("everything holds")

    def _tell(self, found: Iterable[Broken]) -> int:
        count = 0
        for one in found:
            self.stdout.write(str(one))
            count += 1
        return count
