"""`manage.py drain`: gives up the waiting deliveries of a partner; see delivery.draining."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from delivery.draining import drain, waiting
from delivery.management.arguments import Progress, moment
from delivery.management.operators import OperatorCommand
from partners.models import Partner
from partners.wording import counted


class Command(OperatorCommand):
    help = (
        "Gives up the waiting deliveries of a partner: they become dead, and its queue is emptied. "
        "A replay with the mode failed undoes it, one with the mode missing for deliveries that were still to be made."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("partner", help="its id")
        parser.add_argument("--subscription", default="", metavar="ID", help="only deliveries of this subscription")
        parser.add_argument(
            "--until", type=moment, metavar="TIME", help="created before: 3h, 2d or a time (default: now)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *args: Any, **options: Any) -> None:
        partner = Partner.objects.filter(pk=options["partner"]).first()
        if partner is None:
            raise CommandError(f"there is no partner {options['partner']}")
        before, subscription_id = options["until"], options["subscription"]
        total = waiting(partner, before, subscription_id)
        if options["dry_run"]:
            self.stdout.write(f"would give up {counted(total, 'delivery', 'deliveries')}")
            return
        progress = Progress(self.stderr, "given up", total)
        for given_up in drain(partner, before, subscription_id):
            progress.add(given_up)
        self.stdout.write(f"gave up {counted(progress.done, 'delivery', 'deliveries')}")
