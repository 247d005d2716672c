"""What this package answers under `/api/v1/`."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
