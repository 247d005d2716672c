"""Operational events, replays, idempotent requests and dead letters: tables beside the hot path of deliveries.

Part of `delivery.models`, which imports them.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from partners.fields import IdField
from partners.identifiers import EVENT
from partners.models import ApiKey, Partner, Subscription


class OperationalEvent(models.Model):
    """A notice to a partner and to staff about the partner's deliveries; see delivery.operational. Its id is the
    webhook-id."""

    id = IdField(EVENT)
    kind = models.CharField(max_length=40, db_collation="C")
    key = models.CharField(max_length=200, unique=True, help_text="What happened, so that it is told once.")
    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="+", db_index=False)
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    title = models.CharField(max_length=500)
    data = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    emailed_at = models.DateTimeField(null=True, blank=True)
    mailed_to = ArrayField(
        models.CharField(max_length=254),
        null=True,
        editable=False,
        help_text="Addresses that are done: it was sent to them, or they refuse it for good.",
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["partner", "id"], name="operational_event_of_partner"),
            models.Index(fields=["created_at"], name="operational_event_created_at"),
        ]

    def __str__(self) -> str:
        return self.title


class ReplayJob(models.Model):
    """A replay of one subscription, with its progress; see delivery.replay."""

    class Mode(models.TextChoices):
        ALL = "all", "Everything it asks for"
        FAILED = "failed", "What is dead"
        MISSING = "missing", "What it never got"

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELED = "canceled", "Canceled"
        FAILED = "failed", "Failed"

    id = IdField("rpl")
    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="+", db_index=False)
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="+", db_index=False)
    mode = models.CharField(max_length=8, choices=Mode)
    since = models.DateTimeField()
    until = models.DateTimeField()
    status = models.CharField(max_length=8, choices=Status, default=Status.RUNNING, db_collation="C")
    reason = models.CharField(max_length=200, blank=True, default="")
    total = models.PositiveIntegerField()
    is_total_exact = models.BooleanField()
    queued = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    after_at = models.DateTimeField(null=True, help_text="The last event that was looked at: when it was received.")
    after_id = models.CharField(max_length=260, default="", db_collation="C")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["subscription"], condition=Q(status="running"), name="replay_one_at_a_time"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["partner", "id"], name="replay_of_partner")]

    @property
    def counted(self) -> int | None:
        """The total, or None if it could not be counted in time; then `total` is 0 and not exact."""
        return self.total if self.total or self.is_total_exact else None

    def __str__(self) -> str:
        return f"replay of {self.subscription_id} since {self.since:%Y-%m-%d %H:%M}"


class IdempotentRequest(models.Model):
    """A request with an `Idempotency-Key`: in progress, or with its answer. Kept for a day."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    idempotency_key = models.CharField(max_length=255, db_collation="C")
    fingerprint = models.CharField(max_length=64)
    seed = models.CharField(max_length=32)
    first_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(default="")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key", "idempotency_key"], name="idempotency_key_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["first_at"], name="idempotent_request_age")]

    def __str__(self) -> str:
        return self.idempotency_key


class DeadLetter(models.Model):
    """A message of the source that could not become an event: its bytes and the reason."""

    source = models.CharField(max_length=100)
    position = models.CharField(max_length=100, help_text="Where it lay in the source: stream and sequence.")
    subject = models.CharField(max_length=500, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    reason = models.TextField()
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["source", "position"], name="dead_letter_once_per_position"),
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"
