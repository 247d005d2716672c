"""Proof that an endpoint wants our requests: it echoes a challenge, which only a reader of our requests can do.

With the setting ENDPOINT_PROOF, a new subscription, or one with a new URL, is disabled until its endpoint proves
itself. Events that come meanwhile are not delivered; a replay delivers them.
"""

import secrets
from dataclasses import replace

from delivery.endpoints import load_endpoints
from delivery.messages import CHALLENGE
from delivery.sending import Sender
from delivery.trying import Tried, send_now
from partners.models import Subscription
from partners.services import verify_subscription


def verify_now(subscription: Subscription, sender: Sender | None = None) -> tuple[Tried, str]:
    """Sends a new challenge, signed like an event and not transformed. If the answer is 2xx with the challenge as its
    body, an unverified subscription is enabled. Returns the request with its outcome, and why the endpoint is not
    verified: empty if it is.

    Raises partners.places.Busy.
    """
    challenge = secrets.token_urlsafe(24)
    endpoint = replace(load_endpoints([subscription.pk])[subscription.pk], transform=None)
    tried = send_now(endpoint, CHALLENGE, f'{{"challenge":"{challenge}"}}', sender)
    outcome = tried.outcome
    if not outcome.succeeded:
        return tried, outcome.detail
    if outcome.response_excerpt.strip() != challenge:
        return tried, f"it answered {outcome.status_code}, but not with the challenge alone as the body"
    verify_subscription(subscription, endpoint.url)
    return tried, ""
