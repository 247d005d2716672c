"""`manage.py requeue`: makes the next attempt of deliveries now; of dead ones unless `--status` says otherwise."""

from collections import Counter
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from delivery.management.arguments import Progress, moment, positive
from delivery.management.operators import OperatorCommand
from delivery.models import Delivery
from delivery.verbs import retry_delivery
from partners.identifiers import DELIVERY
from partners.made_at import made_between
from partners.wording import counted

_PAGE = 500


class Command(OperatorCommand):
    help = "Makes the next attempt of the chosen deliveries now. Those that had ended become pending again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deliveries", nargs="*", help="ids; without any, the options choose")
        parser.add_argument("--partner", default="", metavar="ID")
        parser.add_argument("--subscription", default="", metavar="ID")
        parser.add_argument("--event-type", default="", metavar="TYPE")
        parser.add_argument("--error", default="", metavar="TEXT", help="part of the last error")
        parser.add_argument("--since", type=moment, metavar="TIME", help="created since: 90m, 3h, 2d or a time")
        parser.add_argument("--until", type=moment, metavar="TIME", help="created before")
        parser.add_argument(
            "--status", choices=Delivery.Status.values, default=Delivery.Status.DEAD, help="default: dead"
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="at most N deliveries")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = _chosen(options)
        limit: int | None = options["limit"]
        total = chosen.count() if limit is None else min(limit, chosen.count())
        if options["dry_run"]:
            self.stdout.write(f"would requeue {counted(total, 'delivery', 'deliveries')}")
            return
        progress, refused = Progress(self.stderr, "requeued", total), Counter[str]()
        after = ""
        while page := list(chosen.filter(pk__gt=after)[: min(_PAGE, total - progress.done)]):
            for delivery in page:
                try:
                    retry_delivery(delivery, is_one_of_many=True)
                except ValidationError as error:
                    refused[str(error.message)] += 1
                progress.add()
            after = page[-1].pk
        self.stdout.write(f"requeued {counted(progress.done - refused.total(), 'delivery', 'deliveries')}")
        for reason, count in refused.items():
            self.stdout.write(f"left {count}: {reason}")


def _chosen(options: dict[str, Any]) -> QuerySet[Delivery]:
    """By id: each of the required conditions has an index in that order."""
    if options["deliveries"]:
        found = Delivery.objects.filter(pk__in=options["deliveries"]).order_by("pk")
        if unknown := set(options["deliveries"]) - set(found.values_list("pk", flat=True)):
            raise CommandError(f"there is no delivery {', '.join(sorted(unknown))}")
        return found
    if not (options["partner"] or options["subscription"] or options["since"]):
        raise CommandError("name deliveries, or at least one of --partner, --subscription, --since")
    conditions = {
        "status": options["status"],
        "partner_id": options["partner"],
        "subscription_id": options["subscription"],
        "event_type": options["event_type"],
        "last_error__icontains": options["error"],
    }
    created = made_between(DELIVERY, "created_at", options["since"], options["until"])
    chosen = Delivery.objects.filter(created, **{name: value for name, value in conditions.items() if value})
    return chosen.order_by("pk")
