# ruff: noqa: RUF001 - look-alike letters are intended
"""URLs that must be refused when they are saved: forbidden addresses in every spelling we know of.

The sources are public lists (OWASP's SSRF cheat sheet, PayloadsAllTheThings, the tests of ssrf_filter, smokescreen,
advocate and requests-hardened) and IANA's registries of special-purpose addresses.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

INNER = (
    *("127.0.0.1", "127.127.127.127", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "168.63.129.16", "192.0.0.192"),
)
"""Addresses that are tried in all spellings."""


def _spellings(text: str) -> Iterator[str]:
    """Spellings that inet_aton, browsers or sloppy parsers read as this IPv4 address."""
    a, b, c, d = text.split(".")
    numbers = tuple(map(int, (a, b, c, d)))
    value = int(IPv4Address(text))
    yield text
    yield f"{text}."
    yield str(value)
    yield f"{value}."
    yield f"{value:#x}"
    yield f"{value:#X}"
    yield f"0x0000{value:08x}"
    yield f"0{value:o}"
    yield f"{value + 2**32}"
    yield ".".join(f"{n:#x}" for n in numbers)
    yield ".".join(f"0{n:o}" for n in numbers)
    yield ".".join(f"{n:04o}" for n in numbers)
    yield ".".join(f"{n:03d}" for n in numbers) if min(numbers) < 100 else f"00{text}"
    yield ".".join(str(n + 256) for n in numbers)
    yield f"{a}.{b}.{numbers[2] * 256 + numbers[3]}"
    yield f"{a}.{value & 0xFFFFFF}"
    yield f"{numbers[0]:#x}.{b}.{c}.{d}"
    yield f"0{numbers[0]:o}.{b}.{numbers[2]:#x}.{d}"
    yield text.replace(".", "%2e")
    yield text.replace(".", "。")
    yield text.replace(".", "．")
    yield text.replace(".", "｡")
    yield text.translate({ord(str(n)): 0xFF10 + n for n in range(10)})
    yield text.translate({ord("0"): 0x24EA} | {ord(str(n)): 0x245F + n for n in range(1, 10)})
    yield text.translate({ord(str(n)): 0x1D7D8 + n for n in range(10)})
    yield text.translate({ord(str(n)): 0x0660 + n for n in range(10)})
    yield "".join(f"%{ord(character):02x}" for character in text)


def _wraps(text: str) -> Iterator[str]:
    """IPv6 addresses that lead to an IPv4 address."""
    value = int(IPv4Address(text))
    yield f"[::ffff:{text}]"
    yield f"[::ffff:{value >> 16:x}:{value & 0xFFFF:x}]"
    yield f"[0:0:0:0:0:ffff:{text}]"
    yield f"[::{text}]"
    yield f"[::ffff:0:{text}]"
    yield f"[{IPv6Address((0x2002 << 112) | value << 80)}]"
    yield f"[{IPv6Address((0x2002 << 112) | value << 80 | 1)}]"
    yield f"[64:ff9b::{text}]"
    yield f"[64:ff9b:1::{text}]"
    yield f"[{IPv6Address((0x20010000 << 96) | (value ^ 0xFFFFFFFF))}]"
    yield f"[fe80::5efe:{text}]"
    yield f"[2a00:1450:4001:81b::5efe:{text}]"
    yield f"[2a00:1450:4001:81b:200:5efe:{text}]"


_SPECIAL_V4 = (
    *("0.1.2.3", "10.255.255.255", "100.127.255.255", "100.100.100.200", "127.255.255.254", "169.254.0.23"),
    *("172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1"),
    *("192.168.255.255", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.254", "255.255.255.255", "192.80.8.124"),
)

_SPECIAL_V6 = (
    *("::", "::1", "0:0:0:0:0:0:0:1", "0000:0000:0000:0000:0000:0000:0000:0001", "::2", "0::1", "::0001", "100::1"),
    *("fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fe80::1", "fe80::a9fe:a9fe"),
    *("febf::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1"),
    *("2001:db8::1", "2002::1", "2620:4f:8000::1", "3ffe::1", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1"),
    *("8000::1", "fe00::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::1", "::ffff:0.0.0.0"),
)

_NAMES = (
    *("localhost", "LOCALHOST", "localhost.", "LocalHost.", "a.localhost", "localhost.localdomain", "ⓛocalhost"),
    *(
        "ｌｏｃａｌｈｏｓｔ",
        "localhoﬆ",
        "local\u00adhost",
        "loc\u200balhost",
        "ip6-localhost",
        "ip6-loopback",
        "broadcasthost",
    ),
    *(
        "metadata",
        "metadata.google.internal",
        "metadata.google.internal.",
        "METADATA.GOOGLE.INTERNAL",
        "metadata.internal",
    ),
    *("instance-data", "instance-data.ec2.internal", "metadata.tencentyun.com", "metadata.packet.net"),
    *(
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "redis",
        "postgres",
        "db.internal",
        "nas.local",
    ),
    *("router.home.arpa", "printer.lan", "intranet", "wiki.corp", "x.onion", "web.test", "host.docker.internal"),
    *("gateway.docker.internal", "1.0.0.127.in-addr.arpa", "127.0.0.1.nip.io", "7f000001.nip.io", "10.0.0.1.sslip.io"),
    *("www.10.0.0.1.xip.io", "localtest.me", "foo.localtest.me", "lvh.me", "vcap.me", "spoofed.lacolhost.com"),
    *("make-127-0-0-1-rr.1u.ms", "7f000001.c0a80001.rbndr.us", "yoogle.com", "foo.local.gd", "a..b", ".example.com"),
    *("example..com", "example.com..", "-", "a-.com", "-a.com", "a b.com", "exa%6dple.com", "example.com%00", "%", "*"),
    *("0", "0.", "1", "127.1", "127.0.1", "0x", "0x.0x.0x.0x", "1.2.3", "1.2.3.4.5", "256.256.256.256", "1.2.3.0x4"),
    *(
        "a.1",
        "example.com.0x7f",
        "08.8.8.8",
        "8.8.8.8.8",
        "①②⑦.⓪.⓪.①",
        "⑯⑨｡②⑤④｡⑯⑨｡②⑤④",
        "[127.0.0.1]",
        "[::1%lo]",
        "[::1%25lo]",
    ),
    *("[fe80::1%25eth0]", "[2a00:1450:4001:81b::200e%25]", "[::", "::1", "[]", "[::1]]", "[[::1]]", "[v1.x]", "[::1]x"),
    *("[:::]", "[0x7f::1]", "[::127.0.0.01]", "[::ffff:0x7f.1]", "[1]", "x" * 64 + ".com", ".".join(["x" * 60] * 5)),
    *(
        "xn--\u00e9.com",
        "exam\u0000ple.com",
        "exam\nple.com",
        "example.com\r\nHost: x",
        "example.com\t",
        "\u3000",
        "ex\u2024ample",
    ),
)

_SHAPES = (
    "",
    " ",
    "http",
    "http:",
    "http:/",
    "http://",
    "http:///",
    "http:///127.0.0.1/",
    "http:127.0.0.1",
    "http:/127.0.0.1",
    "http:\\\\127.0.0.1\\",
    "//127.0.0.1/",
    "/etc/passwd",
    "127.0.0.1",
    "localhost:80",
    "?http://example.com",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stat",
    "ftp://example.com/",
    "ftps://example.com/",
    "ldap://127.0.0.1/",
    "tftp://example.com/x",
    "sftp://example.com/",
    "scp://example.com/x",
    "telnet://example.com:25",
    "smtp://example.com",
    "imap://example.com",
    "rtsp://example.com",
    "jar:http://example.com!/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "netdoc:///etc/passwd",
    "unix:/var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "ws://example.com/",
    "wss://example.com/",
    "view-source:http://example.com",
    "url:http://example.com",
    "hhttp://example.com",
    "http ://example.com",
    " http://example.com",
    "http://example.com ",
    "\nhttp://example.com",
    "http\t://example.com",
    "ht\ntp://example.com",
    "http://example.com\n",
    "http://example.com/\r\nX-Injected: 1",
    "http://example.com/%0d%0a\r\n",
    "http://example.com/\0",
    "http://example.com/a b",
    "http://example.com/\u2028",
    "http://example.com/\ud800",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://@example.com/",
    "http://:@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/",
    "http://127.0.0.1@example.com/",
    "http://127.0.0.1:80@example.com:80/",
    "http://example.com%40127.0.0.1/",
    "http://example.com&@127.0.0.1/",
    "http://127.0.0.1&@example.com/",
    "http://1.1.1.1 &@127.0.0.1# @3.3.3.3/",
    "http://example.com#@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1#.example.com/",
    "http://example.com#fragment",
    "http://127.0.0.1?@example.com/",
    "http://127.0.0.1/@example.com",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com\\.127.0.0.1/",
    "http:\\\\example.com",
    "http:/\\example.com",
    "http://127.0.0.1;example.com/",
    "http://example.com;127.0.0.1/",
    "http://127.0.0.1,example.com/",
    "http://{127.0.0.1,example.com}/",
    "http://[127-128].0.0.1/",
    "http://127.0.0.1%20.example.com/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://127.0.0.1%23.example.com/",
    "http://127.0.0.1:80",
    "http://127.0.0.1:+80/",
    "http://127.0.0.1:080/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1:\u0668\u0660/",
    "http://example.com:",
    "http://example.com:/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:99999/",
    "http://example.com:-80/",
    "http://example.com:+80/",
    "http://example.com:80a/",
    "http://example.com: 80/",
    "http://example.com:0x50/",
    "http://example.com:80:80/",
    "http://example.com:1e2/",
    "http://example.com:\uff18\uff10/",
    "http://example.com:6379/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:5432/",
    "http://example.com:11211/",
    "http://8.8.8.8:6379/",
    "http://[2a00:1450:4001:81b::200e]:22/",
    "http://::1/",
    "http://::1:80/",
    "http://[::1]:80:80/",
    "http://[::1].example.com/",
    "http://example.com[::1]/",
    "http://[example.com]/",
    "https://localhost:443/",
    "HTTP://LOCALHOST/",
    "hTtP://127.0.0.1/",
    "http://example.com/" + "a" * 2048,
)


def _all() -> Iterator[str]:
    for address in INNER:
        for host in (*_spellings(address), *_wraps(address)):
            yield f"http://{host}/"
    yield from (f"https://{host}/latest/meta-data/" for host in _SPECIAL_V4)
    yield from (f"http://[{host}]:80/" for host in _SPECIAL_V6)
    yield from (f"https://{name}/" for name in _NAMES)
    yield from _SHAPES


REFUSED_URLS: tuple[str, ...] = tuple(dict.fromkeys(_all()))

SPECIAL_ADDRESSES: tuple[str, ...] = (
    *INNER,
    *_SPECIAL_V4,
    *(str(IPv6Address(text)) for text in _SPECIAL_V6),
    *dict.fromkeys(str(IPv6Address(wrap.strip("[]"))) for address in INNER for wrap in _wraps(address)),
)
"""Addresses that a name may resolve to, but that must not be connected to."""

FINE_URLS: tuple[str, ...] = (
    "https://example.com",
    "https://example.com/",
    "http://example.com/hooks",
    "HTTPS://Example.COM/Hooks",
    "https://example.com:8443/hooks?shop=1&x=%20y",
    "https://example.com./hooks",
    "https://hooks.example.co.uk/a/b;c=1/d,e?f=g/h?i",
    "https://a_b.example.com/",
    "https://xn--bcher-kva.example/".replace(".example", ".com"),
    "https://bücher.com/größe?ä=ö",
    "https://日本語。jp/",
    "https://faß.de/",
    "https://1password.com/",
    "https://0x.org/",
    "https://123.com/",
    "https://localhost.com/",
    "https://nip.io.example.com/",
    "https://internal.example.com/",
    "https://8.8.8.8/",
    "http://1.1.1.1:8080/x",
    "https://[2a00:1450:4001:81b::200e]/",
    "https://[2606:4700::1111]:8443/",
    "https://example.com/?q=http://127.0.0.1/",
    "https://example.com//127.0.0.1/",
    "https://example.com/a/../b",
    "https://example.com/%2e%2e/",
    "https://example.com/@user",
    "https://example.com?x",
)
"""URLs that look like the above but must be accepted."""
