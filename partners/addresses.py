"""Which IP addresses an endpoint may have: public unicast ones, and those that the operator allows.

This is the only place that decides, without I/O. It is called when a URL with an address is saved, and at every attempt
with the address that is about to be connected to. The lists follow the IANA special-purpose registries (RFC 6890 and
its updates), not `ipaddress.is_global`: that calls NAT64 and IPv4-compatible forms of private addresses global. Clouds
also have metadata services on addresses that are in no registry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED_V4 = {
    IPv4Network(network): kind
    for network, kind in {
        "0.0.0.0/8": "unspecified",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "carrier-grade NAT",  # also the metadata service of Alibaba Cloud, 100.100.100.200
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud's metadata service",  # Azure
        "169.254.0.0/16": "link-local",  # also the metadata service of most clouds, 169.254.169.254
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",  # also the metadata service of Oracle Cloud, 192.0.0.192
        "192.0.2.0/24": "documentation",
        "192.31.196.0/24": "reserved",
        "192.52.193.0/24": "reserved",
        "192.80.8.124/32": "a cloud's metadata service",  # Equinix Metal
        "192.88.99.0/24": "reserved",
        "192.168.0.0/16": "private",
        "192.175.48.0/24": "reserved",
        "198.18.0.0/15": "benchmarking",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",  # includes the broadcast address
    }.items()
}

_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = {
    IPv6Network(network): kind
    for network, kind in {
        "2001::/23": "reserved",  # IETF protocol assignments: Teredo, ORCHID, benchmarking …
        "2001:db8::/32": "documentation",
        "2002::/16": "6to4, which wraps an IPv4 address",
        "2620:4f:8000::/48": "reserved",
        "3ffe::/16": "reserved",
        "3fff::/20": "documentation",
    }.items()
}
_OUTSIDE_V6 = {
    IPv6Network(network): kind
    for network, kind in {
        "::/128": "unspecified",
        "::1/128": "loopback",
        "::ffff:0:0/96": "an IPv4 address in IPv6 form",
        "::ffff:0:0:0/96": "an IPv4 address in IPv6 form",
        "::/96": "an IPv4 address in IPv6 form",
        "64:ff9b::/96": "NAT64, which wraps an IPv4 address",
        "64:ff9b:1::/48": "NAT64, which wraps an IPv4 address",
        "fc00::/7": "private",
        "fe80::/10": "link-local",
        "fec0::/10": "site-local",
        "ff00::/8": "multicast",
    }.items()
}
"""Names for the message. All other addresses outside of global unicast are refused too, as reserved."""

_ISATAP_MASK = 0xFDFF_FFFF << 32
_ISATAP = 0x0000_5EFE << 32
"""Interface identifiers 0:5efe:a.b.c.d and 200:5efe:a.b.c.d, under any prefix (RFC 5214)."""

DEFAULT_SCHEMES = ("https", "http")
DEFAULT_PORTS = (80, 443, 8080, 8443)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The schemes, addresses and ports that endpoints may have. Immutable and hashable."""

    allow: Sequence[Network] = ()
    """Networks that the operator opens, for development or internal partners, on any port."""
    deny: Sequence[Network] = ()
    """Networks that are closed even if public or in `allow`, such as the service's own."""
    schemes: Sequence[str] = DEFAULT_SCHEMES
    ports: Sequence[int] = DEFAULT_PORTS
    """The ports allowed outside of `allow`; empty: any."""

    def __post_init__(self) -> None:
        """Makes tuples of the given sequences, so that the policy is hashable and cannot change."""
        for name in ("allow", "deny", "schemes", "ports"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def refusal(self, address: Address, port: int) -> str | None:
        """Why an endpoint may not have this address and port; None if it may."""
        if _within(address, self.deny):
            return f"the address {address} is closed to endpoints by the operator"
        if _within(address, self.allow):
            return None
        kind = special_kind(address)
        if kind is not None:
            return f"the address {address} is not a public one: {kind}"
        if self.ports and port not in self.ports:
            return f"the port {port} is not allowed; use one of {', '.join(map(str, self.ports))}"
        return None

    def opens_loopback(self) -> bool:
        return any(_within(loopback, self.allow) for loopback in (IPv4Address("127.0.0.1"), IPv6Address("::1")))


def special_kind(address: Address) -> str | None:
    """The kind of an address that is not public unicast; None for public unicast ones."""
    if isinstance(address, IPv4Address):
        return _first(address, _REFUSED_V4)
    if address.scope_id is not None:
        return "it has a zone"
    if address not in _GLOBAL_UNICAST_V6:
        return _first(address, _OUTSIDE_V6) or "reserved"
    if int(address) & _ISATAP_MASK == _ISATAP:
        return "ISATAP, which wraps an IPv4 address"
    return _first(address, _REFUSED_V6)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _first(address: Address, kinds: dict[IPv4Network, str] | dict[IPv6Network, str]) -> str | None:
    return next((kind for network, kind in kinds.items() if address in network), None)
