"""What this package answers under `/api/v1/`."""

from django.urls import path

from delivery.api.publishing import Publish

urlpatterns = [
    path("events", Publish.as_view(), name="events"),
]
