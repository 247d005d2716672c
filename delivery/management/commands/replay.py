"""`manage.py replay`: starts, follows or cancels a replay of a subscription, as the API does."""

import time
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from delivery.management.arguments import Progress, moment
from delivery.management.operators import OperatorCommand
from delivery.models import ReplayJob
from delivery.replay import cancel_replay, estimate, start_replay
from delivery.replayed_events import Wanted
from partners.models import Subscription
from partners.wording import counted


class Command(OperatorCommand):
    help = "Starts a replay of a subscription and follows it. Workers run it, also after this command has ended."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subscription", help="its id")
        parser.add_argument(
            "--mode", choices=ReplayJob.Mode.values, default=ReplayJob.Mode.FAILED, help="default: failed"
        )
        parser.add_argument("--since", type=moment, metavar="TIME", help="events received since: 90m, 3h, 2d or a time")
        parser.add_argument("--until", type=moment, metavar="TIME", help="events received before (default: now)")
        parser.add_argument("--dry-run", action="store_true", help="only count the deliveries")
        parser.add_argument("--no-wait", action="store_true", help="start it and return")
        parser.add_argument("--cancel", action="store_true", help="cancel the running replay")

    def handle(self, *args: Any, **options: Any) -> None:
        subscription = Subscription.objects.filter(pk=options["subscription"]).first()
        if subscription is None:
            raise CommandError(f"there is no subscription {options['subscription']}")
        if options["cancel"]:
            self._cancel(subscription)
            return
        if options["since"] is None:
            raise CommandError("--since is required, such as --since 3h")
        wanted = Wanted(subscription, options["mode"], options["since"], options["until"] or datetime.now(UTC))
        found = estimate(wanted)
        total = "uncounted deliveries"
        if found.count is not None:
            total = ("" if found.is_exact else "about ") + counted(found.count, "delivery", "deliveries")
        if options["dry_run"]:
            self.stdout.write(f"would replay {total}")
            return
        try:
            job = start_replay(wanted)
        except ValidationError as error:
            raise CommandError(error.message) from None
        self.stdout.write(f"{job.pk} replays {total}")
        if not options["no_wait"]:
            self._follow(job)

    def _cancel(self, subscription: Subscription) -> None:
        job = ReplayJob.objects.filter(subscription=subscription, status=ReplayJob.Status.RUNNING).first()
        if job is None:
            raise CommandError("no replay of this subscription is running")
        cancel_replay(job)
        self.stdout.write(f"{job.pk} is canceled; deliveries that it has queued are still sent")

    def _follow(self, job: ReplayJob) -> None:
        progress = Progress(self.stderr, "queued or skipped", job.counted)
        while job.status == ReplayJob.Status.RUNNING:
            time.sleep(0.5)
            job.refresh_from_db()
            progress.add(job.queued + job.skipped - progress.done)
        self.stdout.write(f"{job.status}: {job.queued} queued, {job.skipped} skipped {job.reason}".rstrip())
