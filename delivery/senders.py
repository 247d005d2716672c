"""The sender that the settings choose."""

from dataclasses import replace

from django.conf import settings

from delivery.open_files import files_allowed
from delivery.sending import OnBusy, Sender, make_sender
from delivery.sending.request import DEFAULT_KEEP, Keep
from partners.validation import endpoint_policy


def configured_sender(on_busy: OnBusy | None = None) -> Sender:
    return make_sender(settings.DELIVERY_SENDER, endpoint_policy(), settings.ENDPOINT_CA_FILE, on_busy, kept())


def kept() -> Keep:
    """Idle connections take a quarter of the files that the process may open at most."""
    return replace(DEFAULT_KEEP, connections=int(min(DEFAULT_KEEP.connections, files_allowed() / 4)))
