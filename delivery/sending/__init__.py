"""The only door to the network: sends one request, returns what came of it.

Interim: the hardened senders replace this module.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import requests

from delivery.outcomes import ErrorClass, Outcome, answered, failed
from partners.addresses import AddressPolicy


@dataclass(frozen=True, slots=True)
class Request:
    url: str
    headers: Mapping[str, str]
    body: bytes
    connect_timeout_s: float = 5.0
    timeout_s: float = 15.0


class Sender(Protocol):
    def send(self, request: Request) -> Outcome: ...

    def close(self) -> None: ...


class _Plain:
    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False

    def send(self, request: Request) -> Outcome:
        began = time.perf_counter()
        try:
            response = self._session.post(
                request.url,
                data=request.body,
                headers=dict(request.headers),
                timeout=(request.connect_timeout_s, request.timeout_s),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return failed(ErrorClass.REFUSED, type(error).__name__, (time.perf_counter() - began) * 1000)
        latency_ms = (time.perf_counter() - began) * 1000
        return answered(response.status_code, response.headers, response.content, latency_ms)

    def close(self) -> None:
        self._session.close()


def make_sender(_name: str, _policy: AddressPolicy, ca_file: str | None = None) -> Sender:
    return _Plain()
