"""The demo partners' endpoint: an HTTP server that verifies each delivery with the public Standard Webhooks library."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

from recart_hooks.demo.partners import PARTNERS, DemoPartner
from recart_hooks.ports import LOOPBACK, free_port


@dataclass(frozen=True, slots=True)
class Arrival:
    """One POST and the status that answered it."""

    partner: DemoPartner
    event_id: str
    body: bytes
    is_verified: bool
    status: int
    try_number: int


@dataclass(slots=True)
class Receiver:
    """Listens on a free port of the loopback address until `stop()`. Calls `on_arrival` from many threads."""

    on_arrival: Callable[[Arrival], None]
    port: int = field(default_factory=lambda: free_port(range(9000, 9010)))
    secrets: dict[str, str] = field(default_factory=dict)
    _tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    _events: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self, secrets: Mapping[str, str]) -> None:
        """Starts to listen. `secrets` are the partners' signing secrets, by path."""
        self.secrets.update(secrets)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status = receiver.receive(self.path, dict(self.headers.items()), body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Logs nothing: the scoreboard reports arrivals."""

        self._server = ThreadingHTTPServer((LOOPBACK, self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def receive(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status to answer: 204, 401 for a bad signature, 404 for an unknown path, 503 to make a try fail."""
        partner = next((one for one in PARTNERS if one.path == path), None)
        if partner is None:
            return 404
        event_id = {name.lower(): value for name, value in headers.items()}.get("webhook-id", "")
        is_verified = verify(self.secrets[path], headers, body)
        try_number, is_bad_moment = self._count(partner, event_id)
        status = 401 if not is_verified else 503 if is_bad_moment else 204
        self.on_arrival(Arrival(partner, event_id, body, is_verified, status, try_number))
        return status

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _count(self, partner: DemoPartner, event_id: str) -> tuple[int, bool]:
        """The number of this try of the event, and whether it fails."""
        with self._lock:
            self._tries[partner.path, event_id] += 1
            try_number = self._tries[partner.path, event_id]
            if try_number > 1:
                return try_number, False
            self._events[partner.path] += 1
            return 1, bool(partner.fails_every) and self._events[partner.path] % partner.fails_every == 0


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the signature is valid, by the public library."""
    try:
        Webhook(secret).verify(body, dict(headers))
    except WebhookVerificationError:
        return False
    return True
