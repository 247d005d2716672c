"""`manage.py inspect ID`: the whole story of a delivery or an event: rows, attempts, broker, limits, breaker, audit."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from delivery.management.operators import OperatorCommand
from delivery.models import Delivery, Event
from delivery.story import delivery_story, event_story


class Command(OperatorCommand):
    help = "Shows the whole story of a delivery, or of an event and all its deliveries."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="of a delivery, or of an event (the webhook-id)")

    def handle(self, *args: Any, **options: Any) -> None:
        if (delivery := Delivery.objects.filter(pk=options["id"]).first()) is not None:
            lines = delivery_story(delivery)
        elif (event := Event.objects.filter(pk=options["id"]).first()) is not None:
            lines = event_story(event)
        else:
            raise CommandError(f"there is no delivery and no event {options['id']}")
        for line in lines:
            self.stdout.write(line)
