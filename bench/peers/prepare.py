"""Creates a peer's tables and subscriptions, in a process of its own. Standard input holds the groups."""

import json
import os
import sys

import django
from django.core.management import call_command

from bench.seed import Group


def plain_celery(groups: list[Group]) -> None:
    from bench.peers.plain_celery.models import Subscription  # noqa: PLC0415 - Django is set up by now

    for group in groups:
        Subscription.objects.bulk_create(
            [
                Subscription(
                    event_type=group.event_type(number),
                    url=url,
                    secret="0123456789abcdef0123456789abcdef",
                    is_limited=bool(group.rate_limit),
                )
                for number, url in enumerate(group.urls)
            ]
        )


def django_webhook(groups: list[Group]) -> None:
    """django-webhook subscribes endpoints to models, not to event types, so there is one endpoint for all events."""
    from django_webhook.models import (  # type: ignore[import-not-found]  # noqa: PLC0415
        Webhook,
        WebhookSecret,
        WebhookTopic,
    )

    webhook = Webhook.objects.create(url=groups[0].urls[0])
    topics = [WebhookTopic(name=f"shop.Order/{what}") for what in ("create", "update", "delete")]
    webhook.topics.add(WebhookTopic.objects.bulk_create(topics)[0])
    WebhookSecret.objects.create(webhook=webhook, token="0123456789abcdef0123456789abcdef")


def main() -> None:
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    groups = [Group(**one) for one in json.load(sys.stdin)]
    if "django_webhook" in os.environ["PEER_APPS"]:
        django_webhook(groups)
    else:
        plain_celery(groups)


if __name__ == "__main__":
    main()
