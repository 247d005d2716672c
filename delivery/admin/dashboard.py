"""Traffic on the admin's first page and on the page of a partner, and the view that refreshes it."""

from typing import Any

from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from delivery import stats
from delivery.admin.traffic import DEFAULT_RANGE, RANGES, Reader, traffic
from partners.models import Partner

TEMPLATE = "delivery/admin/traffic.html"
REFRESH_S = 10


def index_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK."""
    context["title"] = "Dashboard"
    if _allowed(request):
        context.update(traffic_context(request))
    return context


def traffic_context(request: HttpRequest, whose: Partner | None = None) -> dict[str, Any]:
    chosen = request.GET.get("range", "")
    name = chosen if chosen in RANGES else DEFAULT_RANGE
    return {
        "traffic": traffic(RANGES[name], timezone.now(), whose, _cached(name, whose)),
        "traffic_url": reverse("admin:delivery_traffic"),
        "traffic_of": whose.pk if whose else "",
        "ranges": [(key, one.name, key == name) for key, one in RANGES.items()],
        "range": name,
        "refresh_s": REFRESH_S,
    }


def _cached(name: str, whose: Partner | None) -> Reader:
    """A reader that caches the overview of a range for `fresh_s`, for all members of staff."""
    key = f"traffic:{name}:{whose.pk if whose else ''}"

    def read(span: stats.Span, step_s: int) -> stats.Overview:
        known: stats.Overview | None = cache.get(key)
        if known is None:
            known = stats.overview(span, step_s)
            cache.set(key, known, RANGES[name].fresh_s)
        return known

    return read


def traffic_view(request: HttpRequest) -> HttpResponse:
    """The traffic section alone, which pages reload every few seconds."""
    if not _allowed(request):
        raise PermissionDenied
    partner_id = request.GET.get("partner")
    whose = get_object_or_404(Partner, pk=partner_id) if partner_id else None
    return render(request, TEMPLATE, traffic_context(request, whose))


def _allowed(request: HttpRequest) -> bool:
    return request.user.has_perm("delivery.view_delivery")
