"""The models of partners, their subscriptions and secrets, and the catalogue of event types.

Models have data and constraints; functions in `partners.services` change them. JSON that people wrote (transformations,
schemas, samples) is stored as text, which keeps the order of keys and the spelling of numbers.
"""

from datetime import UTC, datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from partners import defaults
from partners.access_models import ApiKey, AuditEntry
from partners.errors import DataInvalid, InvalidInput
from partners.event_schemas import compile_schema
from partners.fields import IdField, SealedField
from partners.identifiers import PARTNER, SUBSCRIPTION
from partners.patterns import category
from partners.validation import (
    per_second,
    validate_direction,
    validate_endpoint_url,
    validate_event_types,
    validate_filter,
    validate_headers,
    validate_json,
    validate_mail_address,
    validate_name,
    validate_rate_limit,
    validate_retry_schedule,
    validate_schema,
    validate_transformation,
)

__all__ = ["EARLIEST", "FOREVER", "ApiKey", "AuditEntry", "EventType", "Partner", "Subscription", "SubscriptionSecret"]

EARLIEST, FOREVER = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""Times that people give are limited to these. A pause until FOREVER lasts until somebody resumes."""


class Partner(models.Model):
    """A receiver of events, with its limits."""

    class PausedBy(models.TextChoices):
        NONE = "", "-"
        PARTNER = "partner", "The partner"
        STAFF = "staff", "Staff"

    id = IdField(PARTNER)
    name = models.CharField(max_length=200, unique=True, validators=[validate_direction])
    rate_limit = models.CharField(
        max_length=32,
        blank=True,
        validators=[validate_rate_limit],
        help_text="Deliveries per second, minute or hour over all workers: 50/s, 600/m, 1000/h. Empty: the ceiling.",
    )
    rate_limit_ceiling = models.CharField(
        max_length=32,
        blank=True,
        validators=[validate_rate_limit],
        help_text="The highest rate limit that the partner may set. Empty: no ceiling.",
    )
    max_in_flight = models.PositiveSmallIntegerField(
        default=defaults.max_in_flight,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Requests that may run at the same time: a slow endpoint holds at most this many of the workers' "
        "places.",
    )
    paused_until = models.DateTimeField(
        null=True, blank=True, help_text="Nothing is sent until then; events wait in the queue."
    )
    paused_by = models.CharField(max_length=8, choices=PausedBy, blank=True, default="", editable=False)
    operational_url = models.CharField(
        max_length=2048, blank=True, validators=[validate_endpoint_url], help_text="Where operational events are sent."
    )
    operational_email = models.CharField(max_length=254, blank=True, validators=[validate_mail_address])
    notes = models.TextField(blank=True, help_text="For staff; the partner does not see this.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(max_in_flight__gte=1), name="partner_max_in_flight_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        try:
            mine, most = per_second(self.rate_limit), per_second(self.rate_limit_ceiling)
        except (ValueError, KeyError):
            return  # not rates: the validators of the fields report that
        if mine is not None and most is not None and mine > most:
            raise ValidationError({"rate_limit": f"above the ceiling of {self.rate_limit_ceiling}"})

    @property
    def rate_limit_in_force(self) -> str:
        """Its own limit, else the ceiling; empty: no limit."""
        return self.rate_limit or self.rate_limit_ceiling

    @property
    def is_paused(self) -> bool:
        return self.paused_until is not None and self.paused_until > timezone.now()


class EventType(models.Model):
    """A type of event. Types are data, not code: a new one is a new row."""

    class OnSchemaError(models.TextChoices):
        REFUSE = "refuse", "Refuse the event (kept as a dead letter)"
        FLAG = "flag", "Deliver it and flag it"

    name = models.CharField(primary_key=True, max_length=200, db_collation="C", validators=[validate_name])
    description = models.TextField(blank=True, validators=[validate_direction])
    schema = models.TextField(blank=True, validators=[validate_schema], help_text="JSON Schema 2020-12 of the data.")
    sample = models.TextField(blank=True, validators=[validate_json], help_text="An example of the data, as JSON.")
    version = models.PositiveIntegerField(default=1)
    on_schema_error = models.CharField(max_length=8, choices=OnSchemaError, default=OnSchemaError.FLAG)
    is_deprecated = models.BooleanField(default=False)
    is_catalogued = models.BooleanField(default=True, help_text="Off: seen in an event, but not described yet.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """A sample must match its schema: it is sent as a test event and read as documentation."""
        if self.schema and self.sample:
            try:
                compile_schema(self.schema).check(self.sample.encode())
            except DataInvalid as error:
                raise ValidationError({"sample": f"It breaks the schema: {error}"}) from None
            except InvalidInput:
                pass  # the validators of the fields report that

    @property
    def category(self) -> str:
        """The part before the first dot."""
        return category(self.name)


class Subscription(models.Model):
    """Which events a partner gets, at which URL, in which form."""

    class DisabledReason(models.TextChoices):
        NONE = "", "-"
        GONE = "gone", "The endpoint answered 410 Gone"
        FAILING = "failing", "Nothing but failures for days"
        PARTNER = "partner", "By the partner"
        STAFF = "staff", "By staff"
        UNVERIFIED = "unverified", "The endpoint has not echoed its challenge yet"

    id = IdField(SUBSCRIPTION)
    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="subscriptions")
    description = models.CharField(max_length=500, blank=True, validators=[validate_direction])
    url = models.CharField("endpoint URL", max_length=2048, validators=[validate_endpoint_url])
    event_types = ArrayField(
        models.CharField(max_length=200),
        validators=[validate_event_types],
        help_text="Names or patterns, separated by commas: orders.created, orders.*, *",
    )
    filter = models.TextField(
        blank=True, validators=[validate_filter], help_text="JSONPath. An event is sent if it finds something."
    )
    transformation = models.TextField(
        blank=True, validators=[validate_transformation], help_text='{"omit": [...], "rename": {...}, "map": ...}'
    )
    headers = SealedField(
        default=dict,
        blank=True,
        validators=[validate_headers],
        help_text="Sent with each request. The values may be credentials: they are encrypted.",
    )
    retry_schedule_s = ArrayField(
        models.FloatField(),
        null=True,
        blank=True,
        validators=[validate_retry_schedule],
        help_text="Seconds between attempts, separated by commas. Empty: the default, about three days.",
    )
    timeout_s = models.FloatField(default=defaults.timeout_s, validators=[MinValueValidator(1), MaxValueValidator(30)])
    is_enabled = models.BooleanField(default=True)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_reason = models.CharField(max_length=16, choices=DisabledReason, blank=True, default="", editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    is_operational = models.BooleanField(
        default=False,
        editable=False,
        help_text="Made for the partner's operational URL: gets its operational events only.",
    )
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["updated_at"], name="subscription_updated_at")]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(is_enabled=True, disabled_at=None) | Q(is_enabled=False, disabled_at__isnull=False),
                name="subscription_disabled_has_a_time",
            ),
            models.CheckConstraint(
                condition=Q(timeout_s__gte=1, timeout_s__lte=30), name="subscription_timeout_within_1_and_30_s"
            ),
            models.CheckConstraint(condition=Q(event_types__len__gte=1), name="subscription_wants_something"),
            models.UniqueConstraint(
                fields=["partner"],
                condition=Q(is_operational=True, deleted_at=None),
                name="subscription_operational_once_per_partner",
            ),
        ]

    def __str__(self) -> str:
        return self.description or self.url

    @property
    def header_names(self) -> list[str]:
        """Sorted: JSONB does not keep the order in which headers were given."""
        return sorted(self.headers)

    def clean(self) -> None:
        super().clean()
        if self.deleted_at is not None and self.is_enabled:
            raise ValidationError("a deleted subscription cannot be enabled")


class SubscriptionSecret(models.Model):
    """A signing secret, encrypted. During the overlap of a rotation several secrets sign each request."""

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="secrets")
    token = models.TextField(editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]

    def __str__(self) -> str:
        return f"secret of {self.subscription_id} from {self.created_at:%Y-%m-%d %H:%M}"
