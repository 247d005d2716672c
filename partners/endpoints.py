"""Parses the URL of an endpoint strictly, and says why a URL is refused.

No host name is resolved here. The same parser is used when a URL is saved and at every attempt, so that no two parsers
can disagree about where a request goes. What libraries parse differently (backslashes, user names, octal addresses,
percent signs in a host, control characters) is refused, and the rest is normalized.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

import idna

from partners.addresses import Address, AddressPolicy
from partners.errors import EndpointRefused

URL_MAX = 2048
_HOST_MAX = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}

_FORBIDDEN = re.compile(
    r"[\s\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]"
)
_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(\?(?P<query>[^#]*))?"
)
_AUTHORITY = re.compile(r"(\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]+))(:(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_SAFE_IN_PATH = "/:@!$&'()*+,;=-._~"

_LOCAL_SUFFIXES = (
    *(".local", ".localdomain", ".svc", ".internal", ".intranet", ".private", ".corp", ".home", ".lan", ".home.arpa"),
    *(".invalid", ".test", ".example", ".onion", ".arpa", ".alt"),
)
"""Names that public resolvers do not know (RFC 6761 and similar), or that have a meaning only inside a network."""

_POINT_ANYWHERE = (
    *("nip.io", "sslip.io", "xip.io", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com", "yoogle.com"),
    *("1u.ms", "rbndr.us", "rebind.it", "rebind.network", "nip.lol", "traefik.me", "backname.io", "local.gd", "fuf.me"),
    *("metadata.tencentyun.com", "metadata.packet.net", "metadata.platformequinix.com"),
)
"""Services whose names resolve to the address that is written into them, and metadata services with public names."""


@dataclass(frozen=True)
class EndpointURL:
    """A parsed URL. Its parts are ASCII and normalized."""

    scheme: str
    host: str
    """In lower case, IDNA-encoded, without brackets and trailing dot."""
    port: int
    target: str
    """Path and query, as they stand in the request line."""
    address: Address | None
    """Set if the host is an address and not a name."""

    @cached_property
    def authority(self) -> str:
        """The value of the Host header: without the port if it is the default of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @cached_property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def check_url(url: str, policy: AddressPolicy) -> None:
    """Raises EndpointRefused, with the reason, for a URL that may not be saved as an endpoint.

    A name that is accepted may still resolve to an address that is refused: senders check the address that they
    connect to.
    """
    endpoint = read_url(url)
    check_scheme(endpoint, policy)
    if endpoint.address is not None:
        reason = policy.refusal(endpoint.address, endpoint.port)
    else:
        reason = _name_refusal(endpoint, policy)
    if reason:
        raise EndpointRefused(reason)


def origin(url: str) -> str:
    """Scheme, host and port, for logs and mail. Path and query are left out: many receivers use them as credentials."""
    shape = _SHAPE.match(url)
    return f"{shape['scheme']}://{shape['authority'].rpartition('@')[2]}" if shape else ""


def check_scheme(endpoint: EndpointURL, policy: AddressPolicy) -> None:
    if endpoint.scheme not in policy.schemes:
        raise EndpointRefused(f"the scheme {endpoint.scheme} is not allowed; use {' or '.join(policy.schemes)}")


@lru_cache(maxsize=10_000)
def read_url(url: str) -> EndpointURL:
    """Parses an http or https URL. Raises EndpointRefused if it is invalid or ambiguous."""
    match = _match(url)
    scheme = match["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise EndpointRefused(f"the scheme {scheme[:20]} is not allowed; use https or http")
    if "@" in match["authority"]:
        raise EndpointRefused("a user name or password in the URL is not allowed")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise EndpointRefused("the URL has no valid host and port")
    host, address = _read_host(authority)
    port = int(authority["port"]) if authority["port"] else _DEFAULT_PORTS[scheme]
    if not 1 <= port <= 65535:
        raise EndpointRefused(f"{port} is not a port")
    query = match["query"]
    target = _without_dot_segments(_escape(match["path"] or "/", "")) + (
        "" if query is None else f"?{_escape(query, '?')}"
    )
    if len(target) > 2 * URL_MAX:
        raise EndpointRefused(f"the path and query are longer than {2 * URL_MAX} characters when written in ASCII")
    return EndpointURL(scheme, host, port, target, address)


def _match(url: str) -> re.Match[str]:
    if not url or len(url) > URL_MAX:
        raise EndpointRefused(f"a URL has 1 to {URL_MAX} characters, not {len(url)}")
    if _FORBIDDEN.search(url):
        raise EndpointRefused("a URL has no spaces, line breaks, control or invisible characters")
    if "\\" in url:
        raise EndpointRefused("a URL has no backslashes")
    if "#" in url:
        raise EndpointRefused("a URL of an endpoint has no fragment (`#…`)")
    match = _SHAPE.fullmatch(url)
    if match is None:
        raise EndpointRefused("this is not a URL of the form https://host/path")
    return match


def _read_host(authority: re.Match[str]) -> tuple[str, Address | None]:
    if authority["v6"] is not None:
        v6 = _v6(authority["v6"])
        return str(v6), v6
    name = _ascii(authority["name"]).removesuffix(".")
    labels = name.split(".")
    if len(name) > _HOST_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise EndpointRefused(f"{authority['name'][:60]!r} is not a host name")
    if _NUMBER.fullmatch(labels[-1]):
        v4 = _v4(name)
        return str(v4), v4
    return name, None


def _ascii(name: str) -> str:
    """The name in lower case; a Unicode name by IDNA 2008 with the mapping of UTS 46, as in browsers."""
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        raise EndpointRefused(f"{name[:60]!r} is not an internationalised host name") from None


def _v6(text: str) -> IPv6Address:
    if "%" in text:
        raise EndpointRefused("an IPv6 address with a zone is not allowed")
    try:
        return IPv6Address(text)
    except ValueError:
        raise EndpointRefused(f"{text[:60]!r} is not an IPv6 address") from None


def _v4(text: str) -> IPv4Address:
    """Accepts only four decimal numbers: some parsers read `0177.1`, `0x7f000001` and `2130706433` as addresses."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise EndpointRefused(f"{text[:60]!r} is not an IPv4 address of four decimal numbers") from None


def _name_refusal(endpoint: EndpointURL, policy: AddressPolicy) -> str | None:
    """Why a host name is refused; None if it is not.

    With `policy.allow` a name may resolve into its networks, where any port is open: the attempt's address decides.
    """
    host = endpoint.host
    if host == "localhost" or host.endswith(".localhost"):
        return None if policy.opens_loopback() else f"{host} is this machine"
    if any(host == name or host.endswith(f".{name}") for name in _POINT_ANYWHERE):
        return f"{host} is a name that can stand for any address"
    if policy.allow:
        return None
    if "." not in host or host.endswith(_LOCAL_SUFFIXES):
        return f"{host} is not a public host name"
    if policy.ports and endpoint.port not in policy.ports:
        return f"the port {endpoint.port} is not allowed; use one of {', '.join(map(str, policy.ports))}"
    return None


def _escape(text: str, also_safe: str) -> str:
    """Percent-encodes what a request line can't contain. Existing escapes are kept, in capitals."""
    pieces: list[str] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        pieces += [quote(text[end : escape.start()], safe=_SAFE_IN_PATH + also_safe), escape[0].upper()]
        end = escape.end()
    return "".join([*pieces, quote(text[end:], safe=_SAFE_IN_PATH + also_safe)])


def _without_dot_segments(path: str) -> str:
    """Removes dot segments as in RFC 3986, 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
