"""Proof that an endpoint wants what is sent to it: it echoes a challenge, which only who reads our requests can.

Asked for with ENDPOINT_PROOF, for a new subscription and a new URL. Until then the subscription is disabled: no
deliveries are made, and those of before have to be replayed.
"""

import secrets
from dataclasses import replace

from delivery.endpoints import load_endpoints
from delivery.messages import CHALLENGE
from delivery.sending import Sender
from delivery.trying import Tried, send_now
from partners.models import Subscription
from partners.services import verify_subscription


def verify_now(subscription: Subscription, sender: Sender | None = None) -> tuple[Tried, bool]:
    """Sends a new challenge; whether the answer was 2xx with the challenge as its body. If so, deliveries start.

    It is signed like an event; no transformation is applied. Raises delivery.trying.Busy.
    """
    challenge = secrets.token_urlsafe(24)
    endpoint = replace(load_endpoints([subscription.pk])[subscription.pk], transform=None)
    tried = send_now(endpoint, CHALLENGE, f'{{"challenge":"{challenge}"}}', sender)
    echoed = tried.outcome.succeeded and tried.outcome.response_excerpt.strip() == challenge
    if echoed:
        verify_subscription(subscription)
    return tried, echoed
