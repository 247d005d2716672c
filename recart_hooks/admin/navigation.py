"""Callbacks named in settings.UNFOLD: the sidebar, the quick search, the badge of the environment."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import reverse
from unfold.dataclasses import SearchResult

from delivery.models import Delivery, Event
from partners.admin.base import change_url
from partners.models import EventType, Partner, Subscription

FOUND_AT_MOST = 8
"""For each model. Every look-up uses an index or scans a small table of configuration."""


def stylesheet(request: HttpRequest) -> str:
    return static("recart_hooks/admin.css")


def script(request: HttpRequest) -> str:
    return static("recart_hooks/keyboard.js")


def favicon(request: HttpRequest) -> str:
    return static("recart_hooks/favicon.svg")


def environment(request: HttpRequest) -> list[str] | None:
    """A badge beside the title, so that nobody mistakes a development system for production."""
    return ["Development", "info"] if settings.DEBUG else None


def find(request: HttpRequest, lowered: str) -> list[SearchResult]:
    """The quick search: identifiers, names, endpoints. Ignores `lowered`, because events' ids may have capitals."""
    term = request.GET.get("s", "").strip()
    if len(term) < 2:
        return []
    lookups: list[tuple[type[Model], str, Q]] = [
        (Partner, "storefront", Q(name__icontains=term) | Q(pk__startswith=term)),
        (Subscription, "rss_feed", Q(url__icontains=term) | Q(description__icontains=term) | Q(pk__startswith=term)),
        (EventType, "menu_book", Q(name__icontains=term)),
        (Delivery, "outbox", Q(pk__startswith=term)),
        (Event, "bolt", Q(pk__startswith=term)),
    ]
    found: list[SearchResult] = []
    for model, icon, condition in lookups:
        name = model._meta.model_name
        if request.user.has_perm(f"{model._meta.app_label}.view_{name}"):
            rows = model._default_manager.filter(condition).order_by("pk")[:FOUND_AT_MOST]
            kind = str(model._meta.verbose_name)
            found.extend(SearchResult(str(row), kind, change_url(row), icon) for row in rows)
    return found


def quick_search(request: HttpRequest) -> HttpResponse:
    """Unfold's view, without `page`: it fails for a page that does not exist, and all results fit on the first."""
    query = request.GET.copy()
    query.pop("page", None)
    request.GET = query  # type: ignore[assignment]  # a QueryDict that may be changed
    return admin.site.search(request)  # type: ignore[attr-defined,no-any-return]  # Unfold's


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Links to the pages that this member of staff may view."""
    groups = [
        _group("", _link("Dashboard", "dashboard", reverse("admin:index"))),
        _group(
            "Partners",
            _page("Partners", "storefront", "partners", "partner", request),
            _page("Subscriptions", "rss_feed", "partners", "subscription", request),
            _page("API keys", "key", "partners", "apikey", request),
        ),
        _group(
            "Delivery",
            _page("Deliveries", "outbox", "delivery", "delivery", request),
            _page("Events", "bolt", "delivery", "event", request),
            _page("Replays", "replay", "delivery", "replayjob", request),
        ),
        _group("Catalogue", _page("Event types", "menu_book", "partners", "eventtype", request)),
        _group(
            "Operations",
            _page("Operational events", "campaign", "delivery", "operationalevent", request),
            _page("Dead letters", "unsubscribe", "delivery", "deadletter", request),
            _page("Task results", "task_alt", "django_celery_results", "taskresult", request),
            _link("Flower", "monitoring", settings.FLOWER_URL),
            _link("API docs", "api", reverse("api-docs")),
        ),
        _group(
            "Staff",
            _page("Audit log", "history", "partners", "auditentry", request),
            _page("Users", "person", "auth", "user", request),
            _page("Groups", "group", "auth", "group", request),
        ),
    ]
    return [group for group in groups if group["items"]]


def _group(title: str, *items: dict[str, Any] | None) -> dict[str, Any]:
    return {"title": title, "separator": bool(title), "items": [item for item in items if item]}


def _page(title: str, icon: str, app: str, model: str, request: HttpRequest) -> dict[str, Any] | None:
    if not request.user.has_perm(f"{app}.view_{model}"):
        return None
    return _link(title, icon, reverse(f"admin:{app}_{model}_changelist"))


def _link(title: str, icon: str, address: str) -> dict[str, Any] | None:
    """None without an address."""
    return {"title": title, "icon": icon, "link": address} if address else None
