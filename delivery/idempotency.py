"""`Idempotency-Key`: repeats the first answer for a day, and never does the same work twice.

A row says that a request is being processed, and later holds its answer. A second request that finds the row unfinished
gets a conflict. When the row is so old that its process must have died, the next request takes over, with the row's
seed: events without an id get the same ids as before, and are recognised as duplicates.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from delivery.clocks import database_now
from delivery.models import IdempotentRequest
from delivery.retention.steps import remove_in_steps
from partners.identifiers import EVENT
from partners.models import ApiKey

KEPT = timedelta(hours=24)
_ABANDONED = timedelta(seconds=60)


class InProgress(Exception):  # noqa: N818 - a state
    """The same request is being processed."""


class Reused(Exception):  # noqa: N818 - a state
    """The key was used with another body."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to process a request, or its earlier answer."""

    row: IdempotentRequest
    answer: Answer | None

    def event_id(self, place: int) -> str:
        """An id for an event that came without one: the same in each try. Sorts by the time of the first try."""
        milliseconds = int(self.row.first_at.timestamp() * 1000)
        tail = hashlib.sha256(f"{self.row.seed}:{place}".encode()).hexdigest()[:20]
        return f"{EVENT}_{milliseconds:012x}{tail}"

    def finish(self, answer: Answer) -> None:
        """Keeps the answer, unless another request that took over was faster."""
        IdempotentRequest.objects.filter(pk=self.row.pk, finished_at=None).update(
            finished_at=timezone.now(), status=answer.status, body=answer.body.decode()
        )

    def give_up(self) -> None:
        """Lets the next request try at once, with the same seed, unless one has taken over."""
        own = IdempotentRequest.objects.filter(pk=self.row.pk, finished_at=None, started_at=self.row.started_at)
        own.update(started_at=None)


def claim(key: ApiKey, idempotency_key: str, raw: bytes) -> Claim:
    """Claims a request, and commits that. Raises InProgress or Reused."""
    fingerprint = hashlib.sha256(raw).hexdigest()
    now = database_now()
    IdempotentRequest.objects.filter(key=key, idempotency_key=idempotency_key, first_at__lt=now - KEPT).delete()
    new = IdempotentRequest(
        key=key, idempotency_key=idempotency_key, fingerprint=fingerprint, seed=uuid.uuid4().hex, first_at=now
    )
    IdempotentRequest.objects.bulk_create([new], ignore_conflicts=True)
    with transaction.atomic():
        row = IdempotentRequest.objects.select_for_update().get(key=key, idempotency_key=idempotency_key)
        if row.fingerprint != fingerprint:
            raise Reused
        if row.finished_at is not None:
            return Claim(row, Answer(row.status or 202, row.body.encode()))
        if row.started_at is not None and row.started_at > now - _ABANDONED:
            raise InProgress
        row.started_at = now
        row.save(update_fields=["started_at"])
    return Claim(row, None)


def remove_old() -> int:
    """Removes rows older than a day, in small steps, for at most a minute. Returns how many."""
    return remove_in_steps(_remove_some)


def _remove_some(at_most: int) -> int:
    old = IdempotentRequest.objects.filter(first_at__lt=database_now() - KEPT).values("pk")[:at_most]
    count, _ = IdempotentRequest.objects.filter(pk__in=old).delete()
    return count
