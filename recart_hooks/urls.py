"""Every address the web process answers."""

from django.contrib import admin
from django.urls import path

from recart_hooks.health import healthz, readyz

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
]
