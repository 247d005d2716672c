"""URLs of this package under `/api/v1/`."""

from django.urls import path, register_converter
from django.urls.converters import IntConverter

from delivery.api.deliveries import Attempts, AttemptView, Deliveries, DeliveryView, Retry
from delivery.api.events import EventView
from delivery.api.previews import PreviewView
from delivery.api.publishing import Publish
from delivery.api.queue import QueueView
from delivery.api.replays import ReplayCancel, ReplayEstimate, Replays, ReplayView
from delivery.api.statistics import StatsView
from delivery.api.trials import TestView, VerifyView
from partners.api.urls import IdConverter


class EventIdConverter(IdConverter):
    """An event's id: visible ASCII, slashes included, with a suffix if another source had used the id before.

    There can be no URLs below an event's, because an id may end with any such path.
    """

    regex = r"[\x21-\x7e]{1,260}"


class NumberConverter(IntConverter):
    """An attempt's number, limited to what its column holds."""

    regex = "[1-9][0-9]{0,8}"


register_converter(EventIdConverter, "event")
register_converter(NumberConverter, "number")

urlpatterns = [
    path("events", Publish.as_view(), name="events"),
    path("events/<event:event_id>", EventView.as_view(), name="event"),
    path("deliveries", Deliveries.as_view(), name="deliveries"),
    path("deliveries/<id:delivery_id>", DeliveryView.as_view(), name="delivery"),
    path("deliveries/<id:delivery_id>/retry", Retry.as_view(), name="delivery-retry"),
    path("deliveries/<id:delivery_id>/attempts", Attempts.as_view(), name="attempts"),
    path("deliveries/<id:delivery_id>/attempts/<number:number>", AttemptView.as_view(), name="attempt"),
    path("subscriptions/<id:subscription_id>/test", TestView.as_view(), name="subscription-test"),
    path("subscriptions/<id:subscription_id>/verify", VerifyView.as_view(), name="subscription-verify"),
    path("preview", PreviewView.as_view(), name="preview"),
    path("replays", Replays.as_view(), name="replays"),
    path("replays/estimate", ReplayEstimate.as_view(), name="replay-estimate"),
    path("replays/<id:replay_id>", ReplayView.as_view(), name="replay"),
    path("replays/<id:replay_id>/cancel", ReplayCancel.as_view(), name="replay-cancel"),
    path("stats", StatsView.as_view(), name="stats"),
    path("queue", QueueView.as_view(), name="queue"),
]
