"""What staff do to a subscription: enable, disable, delete, and its signing secrets.

A secret is in one answer only: that of rotating or revealing it. The history says that it was done, never what it was.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import action

from partners import services
from partners.admin.base import DialogForm, StaffAdmin
from partners.admin.looks import span
from partners.models import Subscription

STAFF = Subscription.DisabledReason.STAFF


class RotateForm(DialogForm):
    form_before_template = "partners/admin/rotate_secret.html"

    def get_before_template_context(self, request: HttpRequest, object_id: Any = None) -> dict[str, Any]:
        return {"overlap": span(_overlap()), "ends_at": timezone.now() + _overlap()}


class SubscriptionActions(StaffAdmin[Subscription]):
    actions = ("enable_selected", "disable_selected")
    actions_detail: ClassVar[Sequence[str | dict[str, Any]]] = (
        {"title": "Secret", "icon": "key", "items": ["rotate_secret", "reveal_secrets"]},
        {"title": "More", "icon": "more_horiz", "items": ["enable", "disable", "delete"]},
    )

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Nothing for a deleted one; only the one of enable and disable that changes something."""
        found = self.get_object(request, unquote(object_id))
        if found is None or not self.has_change_permission(request, found):
            return []
        idle = "enable" if found.is_enabled else "disable"
        offered = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # Unfold's
        return [one for one in offered if not one.action_name.endswith(f"_subscription_{idle}")]

    def undeleted(self, request: HttpRequest, object_id: str) -> Subscription:
        subscription = self.wanted(request, object_id)
        if subscription.deleted_at is not None:
            raise Http404
        return subscription

    @action(
        description="Enable",
        icon="play_arrow",
        permissions=["change"],
        dialog={
            "title": "Enable this subscription",
            "description": "New events are delivered again. What came meanwhile is not sent, unless it is replayed.",
            "form_submit_text": "Enable",
        },
    )
    def enable(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        services.enable_subscription(subscription)
        return self.done(request, subscription, "Enabled.")

    @action(
        description="Disable",
        icon="block",
        permissions=["change"],
        dialog={
            "title": "Disable this subscription",
            "description": "New events are not delivered to it any more, until somebody enables it.",
            "form_submit_text": "Disable",
        },
    )
    def disable(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        services.disable_subscription(subscription, STAFF)
        return self.done(request, subscription, "Disabled.")

    @action(
        description="Delete",
        icon="delete",
        permissions=["change"],
        dialog={
            "title": "Delete this subscription",
            "description": "It ends for good and its secrets are removed. Its delivery log stays readable.",
            "form_submit_text": "Delete",
        },
    )
    def delete(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        services.delete_subscription(subscription)
        return self.done(request, subscription, "Deleted.")

    @action(
        description="Rotate",
        icon="autorenew",
        permissions=["change"],
        dialog={"title": "Rotate the signing secret", "form_class": RotateForm, "form_submit_text": "Rotate"},
    )
    def rotate_secret(self, request: HttpRequest, form: RotateForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        secret = services.rotate_secret(subscription)
        self.log_change(request, subscription, "Rotated the signing secret.")
        return self.answer(
            request,
            "partners/admin/secrets.html",
            {
                "title": "The new signing secret",
                "secrets": [secret],
                "note": f"It signs from now on; the one before signs as well for {span(_overlap())}.",
            },
        )

    @action(
        description="Reveal",
        icon="visibility",
        permissions=["change"],
        dialog={
            "title": "Reveal the signing secrets",
            "description": "That you saw them is written into the history.",
            "form_submit_text": "Reveal",
        },
    )
    def reveal_secrets(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        secrets = services.reveal_secrets(subscription)
        self.log_change(request, subscription, "Revealed the signing secrets.")
        return self.answer(
            request,
            "partners/admin/secrets.html",
            {"title": "Signing secrets", "secrets": secrets, "note": "Newest first; each of them signs every request."},
        )

    @admin.action(description="Enable", permissions=["change"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        changed = [one for one in queryset.filter(deleted_at=None) if services.enable_subscription(one)]
        self._tell(request, changed, "enabled")

    @admin.action(description="Disable", permissions=["change"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        changed = [one for one in queryset.filter(deleted_at=None) if services.disable_subscription(one, STAFF)]
        self._tell(request, changed, "disabled")

    def _tell(self, request: HttpRequest, changed: Sequence[Subscription], verb: str) -> None:
        for one in changed:
            self.log_change(request, one, f"{verb.capitalize()}.")
        messages.success(request, f"{len(changed)} {verb}.")


def _overlap() -> timedelta:
    return timedelta(seconds=settings.SECRET_OVERLAP_S)
