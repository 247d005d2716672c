"""The ages from the settings, and checks that they fit together."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from delivery.retention import tables
from delivery.retention.removal import Archive, Rule


def configured_rules() -> list[Rule]:
    return [
        Rule(tables.ATTEMPTS, timedelta(days=settings.ATTEMPTS_KEPT_DAYS)),
        Rule(tables.DELIVERIES, timedelta(days=settings.DELIVERIES_KEPT_DAYS)),
        Rule(tables.EVENTS, timedelta(days=settings.EVENTS_KEPT_DAYS)),
        *(Rule(table, timedelta(days=settings.MINUTES_KEPT_DAYS)) for table in (tables.MINUTES, tables.TEN_MINUTES)),
        *(
            Rule(table, timedelta(days=settings.HOURS_KEPT_DAYS))
            for table in (tables.HOURS, tables.SIX_HOURS, tables.DAYS)
        ),
        Rule(tables.DEAD_LETTERS, timedelta(days=settings.DEAD_LETTERS_KEPT_DAYS)),
        Rule(tables.OPERATIONAL_EVENTS, timedelta(days=settings.OPERATIONAL_EVENTS_KEPT_DAYS)),
    ]


def configured_archive() -> Archive | None:
    """The function named by ARCHIVE_HOOK. Raises ImportError or TypeError."""
    if not settings.ARCHIVE_HOOK:
        return None
    hook: Archive = import_string(settings.ARCHIVE_HOOK)
    if not callable(hook):
        raise TypeError(f"{settings.ARCHIVE_HOOK} is not a function")
    return hook


def check_ages(**_: Any) -> Sequence[checks.CheckMessage]:
    """delivery.E001: attempts or deliveries are kept too long. delivery.E002: minutes are not kept long enough.
    delivery.W001: events are not kept as long as NATS keeps them."""
    found: list[checks.CheckMessage] = []
    if not settings.ATTEMPTS_KEPT_DAYS <= settings.DELIVERIES_KEPT_DAYS <= settings.EVENTS_KEPT_DAYS:
        found.append(
            checks.Error("ATTEMPTS_KEPT_DAYS <= DELIVERIES_KEPT_DAYS <= EVENTS_KEPT_DAYS must hold", id="delivery.E001")
        )
    if timedelta(days=settings.MINUTES_KEPT_DAYS) <= timedelta(seconds=settings.DISABLE_AFTER_S):
        found.append(
            checks.Error(
                "MINUTES_KEPT_DAYS must be longer than DISABLE_AFTER_S: failing subscriptions are found by the minutes",
                id="delivery.E002",
            )
        )
    if settings.EVENTS_KEPT_DAYS < settings.NATS_STREAM_KEPT_DAYS:
        found.append(
            checks.Warning(
                "EVENTS_KEPT_DAYS is shorter than NATS_STREAM_KEPT_DAYS: if the stream's consumer is made anew, events "
                "that were removed here are delivered a second time",
                id="delivery.W001",
            )
        )
    return found


def check_archive(**_: Any) -> Sequence[checks.CheckMessage]:
    """delivery.E003: ARCHIVE_HOOK does not name a function."""
    try:
        configured_archive()
    except (ImportError, TypeError) as error:
        return [checks.Error(f"ARCHIVE_HOOK: {error}", id="delivery.E003")]
    return []
