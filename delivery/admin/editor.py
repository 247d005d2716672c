"""The editor of a subscription's filter and transformation, with a sample event and a preview of its request.

The preview runs the code that deliveries run: filter, transformation, headers. Only the signature is missing, because
it depends on the time of sending. Nothing is stored or sent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from delivery.endpoints import Endpoint, Secret
from delivery.jobs import Job
from delivery.operational.kinds import KINDS
from delivery.prepare import USER_AGENT, prepare
from delivery.verbs import catalogued_types, sample_of
from partners.admin.base import StaffAdmin, per_object
from partners.admin.looks import MASK, json_code
from partners.models import Subscription
from partners.patterns import asks_for
from partners.preview import Preview, preview

TYPES_AT_MOST = 500
SAMPLE_ID = "evt_0123456789abcdef0123456789abcdef"
SIGNED_LATER = "v1,… (made when it is sent)"
_NO_SECRET = Secret(b"not a secret, only a placeholder", None)


class DraftForm(forms.Form):
    """The unsaved fields of a subscription. None is required, because previews are made while staff type."""

    url = forms.CharField(required=False, max_length=2048)
    event_types = forms.CharField(required=False)
    headers = forms.CharField(required=False)
    filter = forms.CharField(required=False)
    transformation = forms.CharField(required=False)
    type = forms.CharField(required=False, max_length=200)
    sample = forms.CharField(required=False, strip=False)


class EditsWithPreview(StaffAdmin[Subscription]):
    """Adds the fields `sample_event` and `preview_pane`, and their views."""

    class Media:
        js = ("delivery/editor.js",)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("preview/", self.admin_site.admin_view(self.preview_view), name="partners_subscription_preview"),
            path("sample/", self.admin_site.admin_view(self.sample_view), name="partners_subscription_sample"),
        ]
        return [*own, *super().get_urls()]

    @display(description="Sample event")
    @per_object
    def sample_event(self, subscription: Subscription) -> SafeString:
        types = list(KINDS) if subscription.is_operational else types_for(subscription.event_types or ["*"])
        context = {
            "types": types,
            "sample": sample_of(types[0]) if types else sample_of(""),
            "sample_url": reverse("admin:partners_subscription_sample"),
        }
        return render_to_string("delivery/admin/sample_event.html", context)

    @display(description="What is sent")
    def preview_pane(self, subscription: Subscription) -> SafeString:
        context = {"preview_url": reverse("admin:partners_subscription_preview"), "subscription": subscription}
        return render_to_string("delivery/admin/preview.html", context)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request) or request.method != "POST":
            raise PermissionDenied
        form = DraftForm(request.POST)
        if not form.is_valid():
            return JsonResponse({"errors": form.errors}, status=400)
        return JsonResponse(preview_of(form.cleaned_data, timezone.now()))

    def sample_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return JsonResponse({"data": sample_of(request.GET.get("type", ""))})


def types_for(patterns: Sequence[str]) -> list[str]:
    """Catalogued types: those that the patterns match come first, and of these the ones with a sample."""
    names = [one.name for one in catalogued_types()[:TYPES_AT_MOST]]
    return sorted(names, key=lambda name: not asks_for(patterns, name))


def preview_of(draft: dict[str, str], now: datetime) -> dict[str, Any]:
    """The preview of a draft, as editor.js expects it."""
    job = _job(draft, now)
    made = preview(draft["filter"], draft["transformation"], job.envelope)
    return {
        "verdict": _verdict(made, draft),
        "sent": made.wanted is True and made.body is not None and _asked_for(draft),
        "problems": [asdict(one) for one in made.problems],
        "hints": [asdict(one) for one in made.hints],
        "headers": list(_headers(job, now)) if made.body is not None else [],
        "body": json_code(made.body.decode()) if made.body is not None else "",
    }


def _job(draft: dict[str, str], now: datetime) -> Job:
    """The sample event as a delivery with the draft's settings. Its body comes from `preview`."""
    endpoint = Endpoint(
        subscription_id="",
        partner_id="",
        url=draft["url"],
        headers=dict(_own_headers(draft["headers"])),
        secrets=(_NO_SECRET,),
        transform=None,
        timeout_s=settings.DELIVERY_TIMEOUT_S,
        schedule_s=(),
        stopped="",
    )
    return Job.unsaved(SAMPLE_ID, draft["type"], now, draft["sample"], endpoint)


def _own_headers(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, _ = (part.strip() for part in line.partition(":"))
        if name and colon:
            yield name, MASK


def _headers(job: Job, now: datetime) -> Iterator[tuple[str, str]]:
    request = prepare(job, now, USER_AGENT, settings.DELIVERY_CONNECT_TIMEOUT_S)
    for name, value in request.headers.items():
        yield name, SIGNED_LATER if name == "webhook-signature" else value


def _asked_for(draft: dict[str, str]) -> bool:
    return asks_for(draft["event_types"].replace(",", " ").split(), draft["type"])


def _verdict(made: Preview, draft: dict[str, str]) -> str:
    if made.problems:
        return "This cannot be sent."
    if not _asked_for(draft):
        return "The event types do not ask for this event: nothing is sent."
    return "This is sent." if made.wanted else "The filter leaves this event out: nothing is sent."
