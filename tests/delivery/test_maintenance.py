"""Maintenance tasks remove what is old, step by step."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import Ignore
from django.db import connection
from django.utils import timezone
from django_celery_results.models import TaskResult

from delivery import publish
from delivery.maintenance import reconcile, remove_old_results, roll_up
from delivery.retention import steps
from delivery.retention.steps import remove_in_steps
from tests.proxy import Proxy

pytestmark = [pytest.mark.django_db, pytest.mark.servers]


def test_old_results_are_removed_and_young_ones_stay() -> None:
    for name, days in (("old", 400), ("young", 0)):
        TaskResult.objects.create(task_id=name)
        TaskResult.objects.filter(task_id=name).update(date_done=timezone.now() - timedelta(days=days))
    assert remove_old_results() == 1
    assert TaskResult.objects.get().task_id == "young"


@pytest.mark.django_db(transaction=True)
def test_a_task_gives_up_when_postgresql_has_vanished_and_the_next_run_connects_again(
    postgres_wire: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.maintenance._LONGEST_WAIT_S", 0.5)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 60)

    def work() -> None:
        try:
            assert roll_up() == 0
            postgres_wire.strand()
            with pytest.raises(Ignore):
                roll_up()
            roll_up.after_return()
            assert roll_up() == 0
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result(30)


def test_an_outage_of_valkey_is_two_lines_although_other_tasks_need_only_postgresql(
    settings: Any, valkey: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    publish.queues.cache_clear()
    for url in ("fair://127.0.0.1:1/0", "fair://127.0.0.1:1/0", valkey):
        settings.BROKER_URL = url
        with suppress(Ignore):
            reconcile()
        roll_up()
        publish.queues.cache_clear()
    lines = [one.getMessage() for one in caplog.records if one.name == "delivery.maintenance"]
    assert lines == ["maintenance.reconcile waits for a server", "going on"]


def test_steps_go_on_until_fewer_rows_are_left_than_a_step_removes() -> None:
    counts = [steps.PER_STEP, steps.PER_STEP, 3, 1]
    assert remove_in_steps(lambda _: counts.pop(0)) == 2 * steps.PER_STEP + 3
    assert counts == [1]
