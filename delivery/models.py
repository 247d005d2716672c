"""Events, their deliveries, the attempts of each delivery, and counts of attempts. PostgreSQL is the truth.

The hot path writes these tables with SQL in batches (ingest.py, recorder.py, rollups.py); the models serve the admin,
the API and the migrations. The tables have no foreign keys: see ADR 9.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from delivery.due import Due
from delivery.resolutions import RESOLUTIONS_S
from delivery.supporting_models import DeadLetter, IdempotentRequest, OperationalEvent, ReplayJob
from partners.fields import IdField
from partners.identifiers import DELIVERY, FAN_OUT
from partners.models import Partner, Subscription

__all__ = [
    "Attempt", "DeadLetter", "Delivery", "Event", "FanOut", "IdempotentRequest", "OperationalEvent", "ReplayJob",
    "Rollup",
]  # fmt: skip


class Event(models.Model):
    """Something that happened. Its data is kept as received, with the producer's key order and spelling of numbers."""

    id = models.CharField(primary_key=True, max_length=260, db_collation="C")
    type = models.CharField(max_length=200, db_collation="C")
    source = models.CharField(max_length=500, blank=True, help_text="CloudEvents source, or where it came from.")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(default=timezone.now)
    data = models.TextField()
    schema_error = models.TextField(blank=True, default="", help_text="Why it breaks its type's schema, if it does.")
    traceparent = models.CharField(max_length=64, blank=True, default="")
    expunged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-received_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(F("received_at").desc(), name="event_received_at"),
            models.Index("type", F("received_at").desc(), name="event_of_type"),
        ]

    def __str__(self) -> str:
        return self.id


class Delivery(models.Model):
    """One event for one subscription, from pending to succeeded or dead."""

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        SUCCEEDED = "succeeded", "Succeeded"
        DEAD = "dead", "Dead"

    id = IdField(DELIVERY)
    event = models.ForeignKey(
        Event, on_delete=models.CASCADE, related_name="deliveries", db_index=False, db_constraint=False
    )
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="deliveries", db_index=False, db_constraint=False
    )
    partner = models.ForeignKey(
        Partner, on_delete=models.PROTECT, related_name="deliveries", db_index=False, db_constraint=False
    )
    event_type = models.CharField(max_length=200, db_collation="C")
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING, db_collation="C")
    attempt_count = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    brought_forward = models.PositiveIntegerField(
        null=True, blank=True, editable=False, help_text="The attempt that somebody wanted sooner."
    )
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    last_status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        verbose_name_plural = "deliveries"
        ordering: ClassVar[list[str]] = ["-id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["event", "subscription"], name="delivery_once_per_event_and_subscription"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "succeeded", "dead"]), name="delivery_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status="pending", next_attempt_at__isnull=False, finished_at=None)
                | (~Q(status="pending") & Q(next_attempt_at=None, finished_at__isnull=False)),
                name="delivery_pending_has_a_next_attempt",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["partner", "id"], name="delivery_of_partner"),
            models.Index(fields=["subscription", "id"], name="delivery_of_subscription"),
            models.Index(fields=["partner", "next_attempt_at"], condition=Q(status="pending"), name="delivery_pending"),
            models.Index(fields=["partner", "id"], condition=Q(status="dead"), name="delivery_dead"),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def next_due(self) -> Due:
        """The next attempt, due now."""
        number = self.attempt_count + 1
        is_sooner = self.brought_forward == number
        return Due(self.pk, number, self.partner_id, self.event_type, brought_forward=is_sooner)


class FanOut(models.Model):
    """An event's deliveries to one partner that are still to be made; see delivery.fan_out. Removed when they are."""

    id = IdField(FAN_OUT)
    event = models.ForeignKey(
        Event, on_delete=models.CASCADE, related_name="fan_outs", db_index=False, db_constraint=False
    )
    partner = models.ForeignKey(
        Partner, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    event_type = models.CharField(max_length=200, db_collation="C")
    created_at = models.DateTimeField()
    after = models.CharField(
        max_length=40, db_collation="C", default="", help_text="The last subscription that was looked at."
    )

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["event", "partner"], name="fan_out_once_per_event_and_partner"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["partner", "created_at"], name="fan_out_of_partner"),
        ]

    def __str__(self) -> str:
        return self.id


class Attempt(models.Model):
    """One HTTP request of a delivery and its outcome. Never changed, but expunging the event clears the response."""

    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="attempts", db_index=False, db_constraint=False
    )
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    latency_ms = models.FloatField()
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField("error class", max_length=32, blank=True, default="", db_collation="C")
    detail = models.CharField(max_length=500, blank=True, default="")
    request_headers = models.TextField(blank=True, default="")
    response_headers = models.TextField(blank=True, default="")
    response_excerpt = models.TextField(blank=True, default="")
    worker = models.CharField(max_length=100, blank=True, default="")

    class Meta:
        ordering: ClassVar[list[str]] = ["delivery", "number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_number_once_per_delivery"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} attempt {self.number}"


class Rollup(models.Model):
    """Counts of one subscription in a minute, or in a longer window summed from minutes; see delivery.resolutions."""

    resolution_s = models.PositiveIntegerField(choices=[(one, f"{one} s") for one in RESOLUTIONS_S])
    starts_at = models.DateTimeField()
    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    partner = models.ForeignKey(
        Partner, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    attempts = models.PositiveIntegerField()
    failures = models.PositiveIntegerField(help_text="Attempts that failed.")
    succeeded = models.PositiveIntegerField(help_text="Deliveries that ended well.")
    dead = models.PositiveIntegerField(help_text="Deliveries that ended without success.")
    latency_sum_ms = models.FloatField()
    histogram = ArrayField(models.PositiveIntegerField(), help_text="Latencies by delivery.histogram.BOUNDS_MS.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["resolution_s", "starts_at", "subscription"], name="rollup_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["partner", "resolution_s", "starts_at"], name="rollup_of_partner"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.starts_at:%Y-%m-%d %H:%M} {self.resolution_s} s"
