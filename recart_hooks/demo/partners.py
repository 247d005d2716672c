"""The demo's partners: who they are, and what they are to get of an event."""

from dataclasses import dataclass

DESCRIPTION = "demo"
"""What the demo's own subscriptions are known by: each of its partners has one."""


@dataclass(frozen=True, slots=True)
class DemoPartner:
    """`path` is where the receiver listens for it. `fails_every`: it fails the first try of every so many events."""

    name: str
    path: str
    event_types: tuple[str, ...]
    transformation: str = ""
    omitted: str = ""
    """The field that the transformation takes out of `data`."""
    fails_every: int = 0

    def wants(self, event_type: str) -> bool:
        """Said again here in the simplest way, so that the demo counts by itself what is to arrive."""
        return "*" in self.event_types or f"{event_type.split('.', maxsplit=1)[0]}.*" in self.event_types


PARTNERS = (
    DemoPartner(
        "Awesome Reviews",
        "/awesome-reviews",
        ("orders.*", "reviews.*"),
        '{"omit": ["$.data.shipping_address"]}',
        omitted="shipping_address",
    ),
    DemoPartner("Loyal Llama", "/loyal-llama", ("*",), fails_every=8),
)
