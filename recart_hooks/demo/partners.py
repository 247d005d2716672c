"""The demo's partners and what each should receive."""

from dataclasses import dataclass

DESCRIPTION = "demo"
"""Marks the demo's own subscriptions: each of its partners has one."""


@dataclass(frozen=True, slots=True)
class DemoPartner:
    """`path` is its endpoint at the receiver. With `fails_every` n, it fails the first try of every n-th event."""

    name: str
    path: str
    event_types: tuple[str, ...]
    transformation: str = ""
    omitted: str = ""
    """The field that the transformation removes from `data`."""
    fails_every: int = 0

    def wants(self, event_type: str) -> bool:
        """A simple matcher of the demo's own, so that what should arrive does not depend on the code under test."""
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
