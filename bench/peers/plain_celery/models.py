"""Subscriptions: an endpoint and the event type that it wants."""

from typing import ClassVar

from django.db import models


class Subscription(models.Model):
    objects: ClassVar[models.Manager["Subscription"]] = models.Manager()

    event_type = models.CharField(max_length=200, db_index=True)
    url = models.URLField()
    secret = models.CharField(max_length=100)
    is_limited = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.url
