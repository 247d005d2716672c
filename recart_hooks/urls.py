"""The URLs of the web process."""

from django.contrib import admin
from django.urls import include, path

from recart_hooks.admin.navigation import quick_search
from recart_hooks.api_docs import Docs, Schema
from recart_hooks.guides import guide
from recart_hooks.health import healthz, readyz
from recart_hooks.home import home
from recart_hooks.metrics import metrics
from recart_hooks.well_known import webhook_keys

urlpatterns = [
    path("", home),
    path("admin/search/", admin.site.admin_view(quick_search)),
    path("admin/", admin.site.urls),
    path("api/v1/", include("delivery.api.urls")),
    path("api/v1/", include("partners.api.urls")),
    path("api/schema/", Schema.as_view(), name="api-schema"),
    path("api/docs/", Docs.as_view(url_name="api-schema"), name="api-docs"),
    path("api/docs/<str:name>", guide),
    path("metrics", metrics),
    path(".well-known/webhook-keys.json", webhook_keys),
    path("healthz", healthz),
    path("readyz", readyz),
]

handler400 = "recart_hooks.answers.bad_request"
handler404 = "recart_hooks.answers.not_found"
handler500 = "recart_hooks.answers.server_error"
