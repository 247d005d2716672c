"""The kinds of operational events, and the titles that people read."""

from collections.abc import Mapping
from typing import Any

from partners.endpoints import origin

FAILING = "subscription.failing"
DISABLED = "subscription.disabled"
BREAKER = "breaker.opened"
DEAD = "delivery.dead"
LIMITED = "partner.rate_limited"

TITLES: Mapping[str, str] = {
    FAILING: "{url} ({subscription_id}) has failed since {failing_since}; it will be disabled at {disabled_from} "
    "unless a delivery succeeds",
    DISABLED: "{url} ({subscription_id}) is disabled ({reason}) since {disabled_at}",
    BREAKER: "{url} ({subscription_id}) seems to be down: deliveries wait until a probe succeeds",
    DEAD: "deliveries to {url} ({subscription_id}) ended without success: {count}",
    LIMITED: "{waiting} deliveries wait for the rate limit {rate_limit}: sending them takes about {wait_s} s",
}
"""One line for each kind, whose placeholders are members of the `showable` data."""


def showable(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data for logs and mail, with the endpoint's URL cut to its origin. Only the partner is sent the whole URL."""
    return {name: origin(value) if name == "url" else value for name, value in data.items()}
