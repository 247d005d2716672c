"""The senders, a receiver, and an authority for its certificates. Each test here runs with all senders."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from delivery.outcomes import Outcome
from delivery.sending import Request, Sender
from delivery.sending.curl_sender import CurlSender
from delivery.sending.request import DEFAULT_KEEP, Keep, Then
from delivery.sending.requests_sender import RequestsSender
from delivery.sending.resolving import LookupFailed, Resolver
from delivery.turns import Turns
from partners.addresses import Address, AddressPolicy
from tests.certificates import Authority, new_authority

LOOPBACK = AddressPolicy(allow=[ip_network("127.0.0.0/8"), ip_network("::1/128")])

MakeSender = Callable[..., Sender]


class InTurns:
    """A sender as workers use it: all exchanges begin in one thread, which goes on meanwhile."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._turns = Turns("test", helpers=100)
        self._turns.start()

    def send(self, request: Request) -> Outcome:
        outcome: Future[Outcome] = Future()
        self._turns.soon(lambda: self._sender.begin(request, self._turns, outcome.set_result))
        return outcome.result(60)

    def begin(self, request: Request, turns: Turns, then: Then) -> None:
        self._sender.begin(request, turns, then)

    def close(self) -> None:
        self._turns.stop(10)
        self._sender.close()


def curl_in_turns(policy: AddressPolicy, resolve: Resolver | None, ca_file: str, keep: Keep) -> Sender:
    return InTurns(CurlSender(policy, resolve, ca_file, keep))


_CLASSES: dict[str, Callable[[AddressPolicy, Resolver | None, str, Keep], Sender]] = {
    "requests": RequestsSender,
    "curl": CurlSender,
    "curl in turns": curl_in_turns,
}


class Names:
    """A resolver of a few names: each look-up returns the name's next address, and in the end always the last one."""

    def __init__(self, **answers: list[str]) -> None:
        self._answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, timeout_s: float) -> tuple[Address, ...]:
        self.asked.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise LookupFailed(f"{host} does not resolve")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return tuple(map(ip_address, answer.split()))


@pytest.fixture(params=list(_CLASSES))
def make_sender(request: pytest.FixtureRequest) -> Iterator[MakeSender]:
    """Creates senders of one kind, and closes them at the end."""
    made: list[Sender] = []

    def make(
        policy: AddressPolicy = LOOPBACK,
        resolve: Resolver | None = None,
        ca_file: Path | str = "",
        keep: Keep = DEFAULT_KEEP,
    ) -> Sender:
        made.append(_CLASSES[request.param](policy, resolve, str(ca_file), keep))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


@pytest.fixture
def sender(make_sender: MakeSender) -> Sender:
    return make_sender()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


class Sending:
    """A sender, the thread in which it is used, and the owners of endpoints that kept it busy."""

    def __init__(self, resolve: Resolver | None = None, keep: Keep = DEFAULT_KEEP) -> None:
        self.busy: list[str] = []
        self.sender = CurlSender(LOOPBACK, resolve, keep=keep, on_busy=self.busy.append)
        self.turns = Turns("test", helpers=2)
        self.turns.start()

    def begin(self, request: Request, then: Then) -> None:
        self.turns.soon(lambda: self.sender.begin(request, self.turns, then))

    def send(self, request: Request) -> Future[Outcome]:
        outcome: Future[Outcome] = Future()
        self.begin(request, outcome.set_result)
        return outcome

    def close(self) -> None:
        self.turns.stop(30)
        self.sender.close()


@pytest.fixture
def sending() -> Iterator[Sending]:
    made = Sending()
    yield made
    made.close()
