"""The URLs of this package, below `/api/v1/`. A path with an id of the wrong form is answered with 404."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from partners.api.audit_log import AuditLog
from partners.api.event_types import EventTypes, EventTypeView
from partners.api.keys import Key, Keys
from partners.api.profile import PauseView, Profile, ResumeView
from partners.api.secrets import Rotation, Secrets
from partners.api.subscriptions import DisableView, EnableView, Subscriptions, SubscriptionView


class IdConverter(StringConverter):
    """An id of any kind. The view's query finds only ids of the right kind and of the caller."""

    regex = "[a-z]{2,8}_[0-9a-f]{32}"


class TypeConverter(StringConverter):
    """An event type's name."""

    regex = r"[A-Za-z0-9_.-]{1,200}"


register_converter(IdConverter, "id")
register_converter(TypeConverter, "type")

urlpatterns = [
    path("partner", Profile.as_view(), name="partner"),
    path("partner/pause", PauseView.as_view(), name="partner-pause"),
    path("partner/resume", ResumeView.as_view(), name="partner-resume"),
    path("keys", Keys.as_view(), name="keys"),
    path("keys/<id:key_id>", Key.as_view(), name="key"),
    path("subscriptions", Subscriptions.as_view(), name="subscriptions"),
    path("subscriptions/<id:subscription_id>", SubscriptionView.as_view(), name="subscription"),
    path("subscriptions/<id:subscription_id>/enable", EnableView.as_view(), name="subscription-enable"),
    path("subscriptions/<id:subscription_id>/disable", DisableView.as_view(), name="subscription-disable"),
    path("subscriptions/<id:subscription_id>/secrets", Secrets.as_view(), name="secrets"),
    path("subscriptions/<id:subscription_id>/secrets/rotate", Rotation.as_view(), name="secrets-rotate"),
    path("event-types", EventTypes.as_view(), name="event-types"),
    path("event-types/<type:name>", EventTypeView.as_view(), name="event-type"),
    path("audit-log", AuditLog.as_view(), name="audit-log"),
]
