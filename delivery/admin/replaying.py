"""The dialog that starts a replay of a subscription, with an estimate of how many deliveries it sends."""

from datetime import datetime

from django import forms
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from delivery.models import ReplayJob
from delivery.replay import Estimate, estimate, start_replay
from delivery.replayed_events import Wanted
from partners.admin.base import DialogForm, link
from partners.admin.dialog import dialog
from partners.admin.subscription_actions import SubscriptionActions
from partners.models import Subscription
from partners.wording import counted

ESTIMATE = "partners_subscription_replay_estimate"


class ReplayForm(DialogForm):
    form_after_template = "delivery/admin/replay_estimate.html"

    mode = forms.ChoiceField(
        label="What", choices=ReplayJob.Mode.choices, initial=ReplayJob.Mode.FAILED, widget=UnfoldAdminSelectWidget
    )
    since = forms.DateTimeField(
        label="Received since (UTC)", widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    )

    def clean_since(self) -> datetime:
        since: datetime = self.cleaned_data["since"]
        if since >= timezone.now():
            raise forms.ValidationError("This time is in the future.")
        return since

    def get_after_template_context(self, request: HttpRequest, object_id: str | int | None = None) -> dict[str, str]:
        return {"estimate_url": reverse(f"admin:{ESTIMATE}", args=[object_id])}

    def wanted(self, subscription: Subscription) -> Wanted:
        return Wanted(subscription, self.cleaned_data["mode"], self.cleaned_data["since"], timezone.now())


class StartsReplays(SubscriptionActions):
    """Adds the dialog, and the view for its estimate."""

    def get_urls(self) -> list[URLPattern]:
        counting = path(
            "<path:object_id>/replay/estimate/", self.admin_site.admin_view(self.estimate_view), name=ESTIMATE
        )
        return [counting, *super().get_urls()]

    def has_replay_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("delivery.add_replayjob")

    @dialog(
        "Replay",
        "replay",
        title="Replay to this subscription",
        text="Runs in the background, at the partner's pace and behind live events. Queues each delivery at most once.",
        form=ReplayForm,
        permissions=["change", "replay"],
    )
    def replay(self, request: HttpRequest, form: ReplayForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        try:
            job = start_replay(form.wanted(subscription))
        except ValidationError as error:
            return self.refused(request, subscription, " ".join(error.messages).capitalize())
        size = _size(Estimate(job.counted, job.is_total_exact))
        message = format_html("A replay of {} has started: {}", size, link(job))
        return self.done(request, subscription, message, log=f"Started a replay ({job.pk}).")

    def estimate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The text below the fields of the dialog."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        subscription = self.undeleted(request, unquote(object_id))
        asked = {**request.GET.dict(), "_form_submitted": True}
        form = ReplayForm(data=asked, request=request, object_id=object_id)  # type: ignore[call-arg]  # Unfold's
        text = f"This sends {_size(estimate(form.wanted(subscription)))}." if form.is_valid() else ""
        return HttpResponse(text)


def _size(found: Estimate) -> str:
    if found.count is None:
        return "many deliveries, or a few among many events: more than can be counted in time"
    return ("" if found.is_exact else "about ") + counted(found.count, "delivery", "deliveries")
