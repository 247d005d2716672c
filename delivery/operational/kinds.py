"""The kinds of operational events, and the titles that people read."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from partners.endpoints import origin
from partners.wording import counted, span

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
    LIMITED: "{waiting} must wait for the rate limit {rate_limit}: sending them takes about {wait_s}",
}
"""One line for each kind, whose placeholders `title_of` fills."""


def title_of(kind: str, data: Mapping[str, Any]) -> str:
    return TITLES[kind].format_map(showable(data) | _in_words(data))


def showable(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data for logs and mail, with the endpoint's URL cut to its origin. Only the partner is sent the whole URL."""
    return {name: origin(value) if name == "url" else value for name, value in data.items()}


def _in_words(data: Mapping[str, Any]) -> dict[str, str]:
    if "wait_s" not in data:
        return {}
    wait = span(timedelta(seconds=data["wait_s"]))
    return {"waiting": counted(data["waiting"], "delivery", "deliveries"), "wait_s": wait}
