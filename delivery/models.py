"""What happened (events), for whom (deliveries), and what came back (attempts). PostgreSQL is the truth.

The hot path writes these tables with SQL in batches (ingest.py, recorder.py); the models serve the admin, the API
and the migrations. Attempts and events are append-only. No foreign keys between them: see ADR 9.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from delivery.due import Due
from delivery.resolutions import RESOLUTIONS_S
from partners.fields import IdField
from partners.models import ApiKey, Partner, Subscription


class Event(models.Model):
    """What happened, kept as it came: key order and the spelling of numbers are the producer's."""

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

    id = IdField("dlv")
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
        """Its next attempt, to be made now."""
        number = self.attempt_count + 1
        is_sooner = self.brought_forward == number
        return Due(self.pk, number, self.partner_id, self.event_type, brought_forward=is_sooner)


class Attempt(models.Model):
    """One HTTP request of a delivery and what came back. Append-only."""

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

    @property
    def succeeded(self) -> bool:
        return not self.error


class Rollup(models.Model):
    """Counts of one subscription in a minute, or in hours and days made of them: for dashboards, API and alerts."""

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


class OperationalEvent(models.Model):
    """What a partner (and staff) were told about its deliveries; see delivery.operational. Its id is the webhook-id."""

    id = IdField("evt")
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
    """A replay of one subscription and how far it came; see delivery.replay."""

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
        """None when it could not be counted in time: none that was counted is exact."""
        return self.total if self.total or self.is_total_exact else None

    def __str__(self) -> str:
        return f"replay of {self.subscription_id} since {self.since:%Y-%m-%d %H:%M}"


class IdempotentRequest(models.Model):
    """A request with an `Idempotency-Key`: being worked on, or how it was answered. Forgotten after a day."""

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
    """A source message that could not become an event: its bytes and the reason."""

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
