"""Dead deliveries are stored as Celery stores failed tasks."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import cast

import pytest
from django.db import DataError, connection
from django.forms import model_to_dict
from django_celery_results.models import TaskResult

from delivery.errors import DeliveryDead
from delivery.publish import TASK, shown
from delivery.recorder import AttemptRecord
from delivery.results import store_dead
from recart_hooks.celery import app
from tests.proxy import Proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]

ERROR = DeliveryDead('status 500 with "quotes" (attempt 3)')


def made(delivery_id: str = "dlv_1", worker: str = "here:1") -> AttemptRecord:
    return cast(
        "AttemptRecord", SimpleNamespace(event_type="order.placed", delivery_id=delivery_id, number=3, worker=worker)
    )


def test_commands_that_import_no_tasks_have_the_backend() -> None:
    """Such as `celery call` and `celery result`."""
    script = "from recart_hooks.celery import app; print(type(app.backend).__name__)"

    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "FailuresBackend\n"


def test_the_row_is_the_one_that_celery_would_store() -> None:
    request = SimpleNamespace(
        argsrepr=shown("order.placed", "dlv_1", 3), kwargsrepr="{}", task=TASK, hostname="here:1", children=[]
    )
    app.backend.store_result("dlv_1:3", ERROR, "FAILURE", traceback=None, request=request)
    by_celery = model_to_dict(TaskResult.objects.get(), exclude=["id"])
    TaskResult.objects.all().delete()

    store_dead([(made(), ERROR)])
    assert model_to_dict(TaskResult.objects.get(), exclude=["id"]) == by_celery
    read = app.AsyncResult("dlv_1:3").result
    assert (type(read), str(read)) == (DeliveryDead, str(ERROR))


def test_a_batch_is_stored_and_what_was_stored_before_stays_once() -> None:
    store_dead([(made("dlv_1"), ERROR)])
    store_dead([(made("dlv_1"), ERROR), (made("dlv_2"), ERROR)])
    assert sorted(TaskResult.objects.values_list("task_id", flat=True)) == ["dlv_1:3", "dlv_2:3"]


def test_a_fault_of_ours_is_raised() -> None:
    with pytest.raises(DataError):
        store_dead([(made(worker="here:\0"), ERROR)])


def test_nothing_is_stored_while_postgresql_is_away(postgres_wire: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    postgres_wire.cut()
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(store_dead, [(made(), ERROR)]).result(30)
        postgres_wire.mend()
        thread.submit(_store_and_close).result(30)
    assert TaskResult.objects.count() == 1
    assert [record.message for record in caplog.records] == ["task results are not stored", "going on"]


def _store_and_close() -> None:
    try:
        store_dead([(made(), ERROR)])
    finally:
        connection.close()
