"""Webhooks with plain Celery, as a competent engineer writes them in a day: one task per delivery, with retries."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import requests
from celery import Task, shared_task

from bench.peers.plain_celery.models import Subscription

RETRY: dict[str, Any] = {
    "autoretry_for": (requests.RequestException,),
    "retry_backoff": 5,
    "retry_backoff_max": 36_000,
    "max_retries": 12,
}


def post(subscription_id: int, event_id: str, event_type: str, data: Any) -> int:
    subscription = Subscription.objects.get(pk=subscription_id)
    body = json.dumps({"id": event_id, "type": event_type, "data": data}).encode()
    timestamp = int(time.time())
    content = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    signature = base64.b64encode(hmac.new(subscription.secret.encode(), content, hashlib.sha256).digest()).decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
    response = requests.post(subscription.url, data=body, headers=headers, timeout=15)
    response.raise_for_status()
    return response.status_code


@shared_task(bind=True, **RETRY)
def deliver(self: "Task[Any, int]", subscription_id: int, event_id: str, event_type: str, data: Any) -> int:
    return post(subscription_id, event_id, event_type, data)


@shared_task(bind=True, rate_limit="1/s", **RETRY)
def deliver_limited(self: "Task[Any, int]", subscription_id: int, event_id: str, event_type: str, data: Any) -> int:
    """For partners with a limit: Celery limits by task name, so the limit needs a task of its own."""
    return post(subscription_id, event_id, event_type, data)


def take(event_type: str, event_id: str, data: bytes) -> None:
    """Queues the deliveries of an event."""
    for subscription in Subscription.objects.filter(event_type=event_type):
        task = deliver_limited if subscription.is_limited else deliver
        task.delay(subscription.pk, event_id, event_type, json.loads(data))
