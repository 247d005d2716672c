"""The model that django-webhook watches: it sends an order when the order is saved."""

import json
from typing import ClassVar

from django.db import models


class Order(models.Model):
    objects: ClassVar[models.Manager["Order"]] = models.Manager()

    number = models.CharField(max_length=50)
    data = models.JSONField()

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.number


def take(event_type: str, event_id: str, data: bytes) -> None:
    """Saves an order; django-webhook's signal queues its deliveries."""
    Order.objects.create(number=event_id, data=json.loads(data))
