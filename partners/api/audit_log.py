"""The audit log of the caller's partner: changes by its own keys, by staff, or by the system."""

from functools import partial
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners.api import costly
from partners.api.base import ApiView
from partners.api.fields import Moment
from partners.api.pages import VISIBLE, PageQuery, page
from partners.api.schema import describe, page_of
from partners.models import AuditEntry

TAG = "Audit log"
_EXAMPLE: dict[str, Any] = {
    "id": "aud_0192f1c7a5b07d3e8a4e5f60718293a4",
    "at": "2026-05-01T12:00:00.000000Z",
    "actor_kind": "key",
    "actor_id": "key_0192f1c7a5b07d3e8a4e5f60718293a4",
    "actor_name": "production server",
    "action": "subscription.update",
    "subject_type": "subscription",
    "subject_id": "sub_0192f1c7a5b07d3e8a4e5f60718293a4",
    "before": {"timeout_s": 15},
    "after": {"timeout_s": 10},
    "request_id": "req_0192f1c7a5b07d3e8a4e5f60718293a4",
}


class AuditShape(serializers.Serializer[Any]):
    id = serializers.CharField()
    at = Moment()
    actor_kind = serializers.ChoiceField(AuditEntry.ActorKind.values)
    actor_id = serializers.SerializerMethodField(help_text="The key's id. Empty for staff and the system.")
    actor_name = serializers.SerializerMethodField()
    action = serializers.CharField()
    subject_type = serializers.CharField()
    subject_id = serializers.CharField()
    before = serializers.SerializerMethodField(
        help_text="The changed fields before the change. Credentials are hidden."
    )
    after = serializers.SerializerMethodField(help_text="The changed fields after the change. Credentials are hidden.")
    request_id = serializers.CharField()

    def get_actor_id(self, entry: AuditEntry) -> str:
        return "" if entry.actor_kind == AuditEntry.ActorKind.STAFF else entry.actor_id

    def get_actor_name(self, entry: AuditEntry) -> str:
        return "" if entry.actor_kind == AuditEntry.ActorKind.STAFF else entry.actor_name

    def get_before(self, entry: AuditEntry) -> dict[str, Any]:
        return _of_the_partner(entry.before)

    def get_after(self, entry: AuditEntry) -> dict[str, Any]:
        return _of_the_partner(entry.after)


def _of_the_partner(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without those that are for staff only."""
    return {name: value for name, value in fields.items() if name not in {"notes", "created_by"}}


class AuditQuery(PageQuery):
    subject_id = serializers.RegexField(VISIBLE, required=False, max_length=260)


class AuditLog(ApiView):
    @describe(
        "Read the audit log",
        tag=TAG,
        name="audit_log_list",
        answer=page_of(AuditShape, "AuditPage"),
        parameters=[AuditQuery],
        example={"items": [_EXAMPLE], "next_cursor": None},
        description="All changes to your data, by your keys, by staff or by the system, newest first.",
    )
    def get(self, request: Request) -> Response:
        query = AuditQuery.read(request)
        rows = AuditEntry.objects.filter(partner_id=self.partner.pk)
        if subject := query.get("subject_id"):
            rows = rows.filter(subject_id=subject)
        return page(
            rows, query, lambda found: AuditShape(found, many=True).data, ask=partial(costly.ask, self.partner.pk)
        )
