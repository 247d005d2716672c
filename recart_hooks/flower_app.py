"""Runs Flower with our configuration: `python -m recart_hooks.flower_app`.

Flower asks the workers which queues exist, but our workers consume all partners' queues as one (`partner.*`). So we
replace its broker page and `/api/queues/length` with ones that list the queue of every partner, whether or not a worker
consumes it. *Messages* counts all messages of a queue, *ready* those that are due, *unacked* those being sent. The rest
is delayed, for example until a retry.
"""

import hashlib
import hmac
import logging
import os
import signal
import sys
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.db import connection
from flower.api.tasks import GetQueueLengths
from flower.app import Flower
from flower.options import options
from flower.urls import settings as page_settings
from flower.views.broker import BrokerView
from tornado.ioloop import IOLoop
from tornado.web import HTTPError

from delivery import publish
from delivery.passing import is_away
from partners.connections import bound_connection

logger = logging.getLogger("recart_hooks.flower")

QUEUES_MAX = 2_000
TASKS_MAX = 10_000
STATE_SAVED_EVERY_MS = 60_000


def main() -> int:
    if not settings.FLOWER_PASSWORD:
        sys.stderr.write("FLOWER_PASSWORD is not set: Flower would be open to everybody\n")
        return 2
    configure()
    flower = make_flower()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        flower.start_http_server()
        logger.info("ready", extra={"address": f"http://{settings.FLOWER_ADDRESS}:{settings.FLOWER_PORT}"})
        flower.start()
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        flower.stop()
    return 0


def configure() -> None:
    """Sets Flower's options, which are one global object of tornado."""
    options.address = settings.FLOWER_ADDRESS
    options.port = settings.FLOWER_PORT
    options.basic_auth = [f"{settings.FLOWER_USER}:{settings.FLOWER_PASSWORD}"]
    options.read_only = True  # changes are made in the admin, whose audit log records who made them
    options.enable_events = settings.FLOWER_TASK_EVENTS
    options.max_tasks = TASKS_MAX  # saves memory: Flower's default is 100,000
    options.purge_offline_workers = 3600
    options.persistent = bool(settings.FLOWER_STATE_FILE)
    options.db = settings.FLOWER_STATE_FILE or "flower"
    options.state_save_interval = STATE_SAVED_EVERY_MS if options.persistent else 0
    options.tasks_columns = "name,args,state,uuid,received,runtime,worker"
    options.natural_time = True
    logging.getLogger("tornado.access").setLevel(logging.ERROR)


def make_flower() -> Flower:
    from recart_hooks.celery import app  # noqa: PLC0415 - needs Django's app registry

    secret = hmac.digest(settings.SECRET_KEY.encode(), b"flower's cookies", hashlib.sha256).hex()
    flower = Flower(capp=app, options=options, **{**page_settings, "cookie_secret": secret})
    flower.add_handlers(".*", [(r"/broker", BrokerPage), (r"/api/queues/length", QueueLengths)])
    return flower


class PartnerQueues:
    """Replaces Flower's broker client: lists the queues of all partners, whether or not a worker consumes them."""

    async def queues(self, _consumed: list[str]) -> list[dict[str, Any]]:
        return await IOLoop.current().run_in_executor(None, list_queues)


class ListsPartnerQueues:
    def get_broker(self) -> PartnerQueues:
        return PartnerQueues()


class BrokerPage(ListsPartnerQueues, BrokerView):  # type: ignore[misc]  # Flower is untyped
    """/broker"""


class QueueLengths(ListsPartnerQueues, GetQueueLengths):  # type: ignore[misc]  # Flower is untyped
    """/api/queues/length"""

    async def get(self) -> None:
        try:
            await super().get()
        except Exception as error:
            if not is_away(error):
                raise
            raise HTTPError(503, "PostgreSQL or Valkey does not answer") from error


def list_queues() -> list[dict[str, Any]]:
    """At most QUEUES_MAX queues, the fullest first. Each name is that of the queue and, in brackets, of the partner."""
    try:
        bound_connection()
        partners = apps.get_model("partners", "Partner").objects.values_list("id", "name")
        names = {publish.queue_of(id_): name for id_, name in partners}
    finally:
        connection.close()  # executor threads come and go: none may keep a connection
    queues = publish.queues()
    stats = queues.stats(list(names))
    rows: list[dict[str, Any]] = [
        {
            "name": f"{queue} ({names[queue]})",
            "messages": one.ready + one.delayed + one.in_flight,
            "messages_ready": one.ready,
            "messages_unacknowledged": one.in_flight,
        }
        for queue, one in stats.items()
    ]
    waiting = int(queues.client.llen(publish.MAINTENANCE))
    rows.append({"name": publish.MAINTENANCE, "messages": waiting, "messages_ready": waiting})
    rows.sort(key=lambda row: (-row["messages"], row["name"]))
    return rows[:QUEUES_MAX]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")
    django.setup()
    sys.exit(main())
