"""Every address the web process answers."""

from django.contrib import admin
from django.urls import path

from recart_hooks.health import healthz, readyz
from recart_hooks.metrics import metrics

urlpatterns = [
    path("admin/", admin.site.urls),
    path("metrics", metrics),
    path("healthz", healthz),
    path("readyz", readyz),
]
