"""Maintenance tasks remove what is old, step by step."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_results.models import TaskResult

from delivery.maintenance import remove_old_results
from delivery.retention import steps
from delivery.retention.steps import remove_in_steps

pytestmark = [pytest.mark.django_db, pytest.mark.servers]


def test_old_results_are_removed_and_young_ones_stay() -> None:
    for name, days in (("old", 400), ("young", 0)):
        TaskResult.objects.create(task_id=name)
        TaskResult.objects.filter(task_id=name).update(date_done=timezone.now() - timedelta(days=days))
    assert remove_old_results() == 1
    assert TaskResult.objects.get().task_id == "young"


def test_steps_go_on_until_fewer_rows_are_left_than_a_step_removes() -> None:
    counts = [steps.PER_STEP, steps.PER_STEP, 3, 1]
    assert remove_in_steps(lambda _: counts.pop(0)) == 2 * steps.PER_STEP + 3
    assert counts == [1]
