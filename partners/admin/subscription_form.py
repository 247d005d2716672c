"""The form of a subscription, with lists, headers and delays as people write them."""

from typing import Any, ClassVar

from django import forms

from partners.admin.fields import CodeArea, DelaysField, HeadersField, WordsField
from partners.models import Subscription


class SubscriptionForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the checker only
    event_types = WordsField(
        help_text="Names or patterns, one per line or separated by commas: orders.created, orders.*, *"
    )
    headers = HeadersField(
        required=False, help_text="Sent with each request, one per line. A value that stays masked is kept."
    )
    retry_schedule_s = DelaysField(
        label="Retry schedule",
        required=False,
        widget=CodeArea(rows=1, placeholder="5s, 30s, 5m, 1h"),
        help_text="Delays between attempts: 5s, 30s, 5m, 1h. Empty: the default, about three days.",
    )

    class Meta:
        model = Subscription
        fields = (
            "partner",
            "description",
            "url",
            "event_types",
            "filter",
            "transformation",
            "headers",
            "retry_schedule_s",
            "timeout_s",
        )
        labels: ClassVar[dict[str, str]] = {"timeout_s": "Timeout (s)", "url": "URL"}
        widgets: ClassVar[dict[str, Any]] = {
            "filter": CodeArea(rows=2, placeholder="$.data[?(@.total_price > 100)]"),
            "transformation": CodeArea("json", rows=8, placeholder='{"omit": ["$.data.customer.email"]}'),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "headers" in self.fields:
            self.fields["headers"].stored = self.instance.headers  # type: ignore[attr-defined]  # a HeadersField
