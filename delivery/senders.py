"""The sender that the settings choose."""

from django.conf import settings

from delivery.sending import Sender, make_sender
from partners.validation import endpoint_policy


def configured_sender() -> Sender:
    return make_sender(settings.DELIVERY_SENDER, endpoint_policy(), ca_file=settings.ENDPOINT_CA_FILE or None)
