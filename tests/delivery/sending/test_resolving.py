"""Looking up names within a bounded time."""

import socket
import threading
from ipaddress import ip_address

import pytest

from delivery.sending.resolving import MOST_ADDRESSES, LookupFailed, NoRoomToLookUp, SystemResolver

PUBLIC = "93.184.215.14"


def entries(*addresses: str) -> list[tuple[object, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]


class StuckLookup:
    """A getaddrinfo that does not return until the test lets it."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.release = threading.Event()

    def __call__(self, host: bytes, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        self.calls.append(host)
        assert self.release.wait(10)
        return entries(PUBLIC)


def test_the_system_resolver_knows_this_machine() -> None:
    assert {str(address) for address in SystemResolver()("localhost", 5)} & {"127.0.0.1", "::1"}


def test_each_address_comes_once_in_the_order_of_the_system() -> None:
    resolve = SystemResolver(lambda *_, **__: entries("1.1.1.1", "8.8.8.8", "1.1.1.1"))
    assert resolve("example.com", 1) == (ip_address("1.1.1.1"), ip_address("8.8.8.8"))


def test_only_the_first_of_very_many_addresses_are_used() -> None:
    many = [f"10.0.{number // 256}.{number % 256}" for number in range(4000)]
    resolve = SystemResolver(lambda *_, **__: entries(*many))
    assert resolve("example.com", 1) == tuple(map(ip_address, many[:MOST_ADDRESSES]))


def test_a_name_that_does_not_exist_fails_with_the_systems_reason() -> None:
    def no_such_name(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(LookupFailed, match=r"example\.com does not resolve: Name or service not known"):
        SystemResolver(no_such_name)("example.com", 1)


def test_a_name_without_addresses_fails() -> None:
    with pytest.raises(LookupFailed, match="no address"):
        SystemResolver(lambda *_, **__: [])("example.com", 1)


def test_an_unexpected_error_ends_the_lookup_too() -> None:
    def broken(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise MemoryError

    resolve = SystemResolver(broken)
    for _ in range(2):
        with pytest.raises(LookupFailed, match="MemoryError"):
            resolve("example.com", 1)


def test_a_lookup_that_takes_too_long_is_left_behind() -> None:
    stuck = StuckLookup()
    resolve = SystemResolver(stuck)
    with pytest.raises(LookupFailed, match=r"took longer than 0\.01 s"):
        resolve("slow.example.com", 0.01)
    stuck.release.set()


def test_lookups_of_one_name_share_one_thread_and_other_names_are_not_held_up() -> None:
    stuck = StuckLookup()
    resolve = SystemResolver(lambda host, *_, **__: stuck(host) if host == b"slow.com" else entries(PUBLIC))
    for _ in range(3):
        with pytest.raises(LookupFailed):
            resolve("slow.com", 0.01)
    assert resolve("quick.com", 5) == (ip_address(PUBLIC),)
    assert stuck.calls == [b"slow.com"]
    stuck.release.set()


def test_a_name_is_looked_up_again_after_its_lookup_ended() -> None:
    calls: list[bytes] = []

    def lookup(host: bytes, *_: object, **__: object) -> list[tuple[object, ...]]:
        calls.append(host)
        return entries(PUBLIC)

    resolve = SystemResolver(lookup)
    resolve("example.com", 5)
    resolve("example.com", 5)
    assert calls == [b"example.com"] * 2


class PartlyStuck(StuckLookup):
    """A getaddrinfo that finds all names except those in `dead`, which fail in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.dead: set[bytes] = set()

    def __call__(self, host: bytes, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        if host in self.dead:
            super().__call__(host)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return entries(PUBLIC)


def time_out(resolve: SystemResolver, *names: str) -> None:
    for name in names:
        with pytest.raises(LookupFailed, match="took longer"):
            resolve(name, 0.01)


def test_names_whose_last_lookup_failed_hold_half_of_the_places_at_most() -> None:
    partly = PartlyStuck()
    partly.dead = {b"a.dead.com", b"b.dead.com", b"c.dead.com"}
    resolve = SystemResolver(partly, max_lookups=4)
    time_out(resolve, "a.dead.com", "b.dead.com", "c.dead.com")
    partly.release.set()
    for name in ("a.dead.com", "b.dead.com", "c.dead.com"):
        with pytest.raises(LookupFailed, match="Temporary failure"):
            resolve(name, 5)
    partly.release.clear()
    time_out(resolve, "a.dead.com", "b.dead.com")
    with pytest.raises(NoRoomToLookUp, match="2 names are being looked up already"):
        resolve("c.dead.com", 0.01)
    assert resolve("healthy.com", 5) == (ip_address(PUBLIC),)
    partly.release.set()


def test_where_no_place_is_left_a_name_has_the_addresses_it_had_in_the_last_hour() -> None:
    partly, now = PartlyStuck(), [0.0]
    resolve = SystemResolver(partly, max_lookups=2, clock=lambda: now[0])
    resolve("healthy.com", 5)
    partly.dead = {b"a.dead.com", b"b.dead.com"}
    time_out(resolve, "a.dead.com", "b.dead.com")
    assert resolve("healthy.com", 5) == (ip_address(PUBLIC),)
    with pytest.raises(NoRoomToLookUp, match="2 names are being looked up already"):
        resolve("new.com", 5)
    now[0] = 3601.0
    with pytest.raises(NoRoomToLookUp):
        resolve("healthy.com", 5)
    partly.release.set()
