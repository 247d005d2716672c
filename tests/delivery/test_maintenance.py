"""Maintenance tasks remove what is old, step by step."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from celery.exceptions import Ignore
from django.db import connection
from django.utils import timezone
from django_celery_results.models import TaskResult

from delivery.maintenance import remove_old_results, roll_up
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


def test_steps_go_on_until_fewer_rows_are_left_than_a_step_removes() -> None:
    counts = [steps.PER_STEP, steps.PER_STEP, 3, 1]
    assert remove_in_steps(lambda _: counts.pop(0)) == 2 * steps.PER_STEP + 3
    assert counts == [1]
