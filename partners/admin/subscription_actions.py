"""The actions of staff on a subscription: enable, disable, delete, and rotate or reveal its signing secrets.

Only the answers to rotating and revealing contain secrets. The history records these actions, not the secrets.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from partners import services
from partners.admin.base import DialogForm, StaffAdmin
from partners.admin.dialog import dialog
from partners.encryption import readable
from partners.models import Subscription
from partners.switching import disable_subscriptions, enable_subscriptions
from partners.wording import span

STAFF = Subscription.DisabledReason.STAFF
MORE: dict[str, Any] = {"title": "More", "icon": "more_horiz", "items": ["enable", "disable", "delete"]}


class RotateForm(DialogForm):
    form_before_template = "partners/admin/rotate_secret.html"

    def get_before_template_context(self, request: HttpRequest, object_id: Any = None) -> dict[str, Any]:
        return {"overlap": span(_overlap()), "ends_at": timezone.now() + _overlap()}


class SubscriptionActions(StaffAdmin[Subscription]):
    actions = ("enable_selected", "disable_selected")
    actions_detail: ClassVar[Sequence[str | dict[str, Any]]] = (
        {"title": "Secret", "icon": "key", "items": ["rotate_secret", "reveal_secrets"]},
        MORE,
    )

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Offers nothing for a deleted subscription, and enable, disable and verify only if they change something.

        Disabling changes whose reason it is too: then only staff can enable it. The operational subscription follows
        the partner's operational URL, so it cannot be deleted: the next operational event would make another one, with
        another secret.
        """
        found = self.get_object(request, unquote(object_id))
        if found is None or not self.has_change_permission(request, found):
            return []
        idle = []
        if found.is_enabled:
            idle.append("_subscription_enable")
        if found.disabled_reason == STAFF:
            idle.append("_subscription_disable")
        if found.disabled_reason != Subscription.DisabledReason.UNVERIFIED:
            idle.append("_subscription_verify")
        if found.is_operational:
            idle.append("_subscription_delete")
        offered = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # Unfold's
        return [one for one in offered if not one.action_name.endswith(tuple(idle))]

    def undeleted(self, request: HttpRequest, object_id: str) -> Subscription:
        subscription = self.wanted(request, object_id)
        if subscription.deleted_at is not None:
            raise Http404
        return subscription

    @dialog(
        "Enable",
        "play_arrow",
        title="Enable this subscription",
        text="New events are delivered again. Events that came meanwhile are sent only by a replay.",
    )
    def enable(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        services.enable_subscription(subscription)
        return self.done(request, subscription, "Enabled.")

    @dialog(
        "Disable",
        "block",
        title="Disable this subscription",
        text="New events are not delivered to it until staff enable it. Deliveries that wait for it become dead when "
        "they are due; a replay sends them again.",
    )
    def disable(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        services.disable_subscription(subscription, STAFF)
        return self.done(request, subscription, "Disabled.")

    @dialog(
        "Delete",
        "delete",
        title="Delete this subscription",
        text="The subscription ends for good and its secrets are removed. Its delivery log stays readable.",
    )
    def delete(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        if subscription.is_operational:
            raise Http404
        services.delete_subscription(subscription)
        return self.done(request, subscription, "Deleted.")

    @dialog("Rotate", "autorenew", title="Rotate the signing secret", form=RotateForm)
    def rotate_secret(self, request: HttpRequest, form: RotateForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        try:
            secret = services.rotate_secret(subscription)
        except Subscription.DoesNotExist:
            raise Http404 from None
        self.log_change(request, subscription, "Rotated the signing secret.")
        overlaps = len(services.live_secrets(subscription)) > 1
        former = f"The former one signs them too for {span(_overlap())}." if overlaps else "No other one signs them."
        return self.answer(
            request,
            "partners/admin/secrets.html",
            {
                "title": "The new signing secret",
                "secrets": [secret],
                "note": f"It signs every request from now on. {former}",
            },
        )

    @dialog(
        "Reveal",
        "visibility",
        title="Reveal the signing secrets",
        text="The history and the audit log record that you saw them.",
    )
    def reveal_secrets(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        services.note_reveal(subscription)
        secrets = [readable(secret.token) for secret in services.live_secrets(subscription)]
        self.log_change(request, subscription, "Revealed the signing secrets.")
        return self.answer(
            request,
            "partners/admin/secrets.html",
            {"title": "Signing secrets", "secrets": secrets, "note": "Newest first. Each of them signs every request."},
        )

    @admin.action(description="Enable", permissions=["change"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        changed = enable_subscriptions(queryset)
        self.done_to_all(request, changed, "enabled")

    @admin.action(description="Disable", permissions=["change"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        changed = disable_subscriptions(queryset, STAFF)
        self.done_to_all(request, changed, "disabled")


def _overlap() -> timedelta:
    return timedelta(seconds=settings.SECRET_OVERLAP_S)
