"""The models of API keys and of the audit log: who may use the API, and who changed what.

`partners.models` exports them. They are apart because they are about access, and not about subscriptions.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from partners.fields import IdField
from partners.identifiers import AUDIT_ENTRY
from partners.validation import validate_direction


class ApiKey(models.Model):
    """A bearer token for the API. A key that publishes events or maintains the catalogue belongs to no partner.

    Only the SHA-256 of the token is stored. A slower hash would not protect it better, since it has 256 random bits.
    """

    class Scope(models.TextChoices):
        PARTNER = "partner", "Partner: manages its subscriptions"
        READ_ONLY = "read_only", "Read only: sees what the partner sees"
        PRODUCER = "producer", "Producer: publishes events"
        CATALOGUE = "catalogue", "Catalogue: keeps the event types"

    id = IdField("key")
    partner = models.ForeignKey(
        "partners.Partner", on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys"
    )
    name = models.CharField(max_length=100, validators=[validate_direction], help_text="What the key is for.")
    scope = models.CharField(max_length=16, choices=Scope, default=Scope.PARTNER)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=16, editable=False, help_text="The first characters of the key.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=200, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar[list[str]] = ["-id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(scope__in=["producer", "catalogue"], partner=None)
                | Q(scope__in=["partner", "read_only"], partner__isnull=False),
                name="api_key_of_a_partner_or_the_platform",
                violation_error_message="A producer's or the catalogue's key belongs to no partner; others need one.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class AuditEntry(models.Model):
    """One change: who made it, what it was, and the changed fields before and after it. Append-only."""

    class ActorKind(models.TextChoices):
        STAFF = "staff", "Staff"
        KEY = "key", "API key"
        SYSTEM = "system", "System"

    id = IdField(AUDIT_ENTRY)
    at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=8, choices=ActorKind)
    actor_id = models.CharField(max_length=150, blank=True)
    actor_name = models.CharField(max_length=200, blank=True)
    partner = models.ForeignKey(
        "partners.Partner", on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    action = models.CharField(max_length=60, db_collation="C")
    subject_type = models.CharField(max_length=30, db_collation="C")
    subject_id = models.CharField(max_length=260, db_collation="C")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name_plural = "audit log"
        ordering: ClassVar[list[str]] = ["-id"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["partner", "id"], name="audit_of_partner"),
            models.Index(fields=["subject_id", "id"], name="audit_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_id}"
