"""The sender that the settings choose."""

from django.conf import settings

from delivery.sending import OnBusy, Sender, make_sender
from partners.validation import endpoint_policy


def configured_sender(on_busy: OnBusy | None = None) -> Sender:
    return make_sender(settings.DELIVERY_SENDER, endpoint_policy(), settings.ENDPOINT_CA_FILE, on_busy)
