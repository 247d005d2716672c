"""`manage.py reconcile`: queues all overdue deliveries that the broker does not hold."""

import math
from typing import Any

from django.core.management.base import CommandParser

from delivery import publish
from delivery.management.arguments import Progress
from delivery.management.operators import OperatorCommand
from delivery.overdue import GRACE_S
from delivery.reconcile import find_lost, reconcile


class Command(OperatorCommand):
    help = "Queues all overdue deliveries that the broker does not hold. Beat does so in parts, every ten seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--grace", type=float, default=GRACE_S, metavar="S", help="ignore deliveries due for less")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *args: Any, **options: Any) -> None:
        queues, grace_s = publish.queues(), options["grace"]
        if not options["dry_run"] and queues.was_wiped():
            done = reconcile(queues, grace_s, within_s=math.inf)
            self.stdout.write(f"the broker was wiped: queued {done.queued} of {done.checked} deliveries")
            return
        progress, found = Progress(self.stderr, "overdue deliveries checked"), 0
        for looked_at, lost in find_lost(queues, grace_s):
            found += len(lost) if options["dry_run"] else publish.publish(lost, queues)
            progress.add(looked_at)
        verb = "would queue" if options["dry_run"] else "queued"
        self.stdout.write(f"{verb} {found} of {progress.done} overdue deliveries")
