"""How the parts of a sender tell each other that an attempt has failed; it never leaves the package."""

from delivery.outcomes import ErrorClass

_IN_WORDS = {
    ErrorClass.DNS: "the name does not resolve",
    ErrorClass.REFUSED: "the connection was refused, or the host cannot be reached",
    ErrorClass.CONNECT_TIMEOUT: "connecting took too long",
    ErrorClass.TIMEOUT: "the whole answer did not come in time",
    ErrorClass.RESET: "the connection ended before the whole answer came",
    ErrorClass.TLS: "the TLS handshake failed",
    ErrorClass.INVALID: "what came is not an answer in HTTP/1",
    ErrorClass.INTERNAL: "the HTTP client failed",
}


class Failure(Exception):  # noqa: N818 - the endpoint's, which `send` turns into an Outcome
    """Not an OSError, an HTTPException or a urllib3 error on purpose: no library on the way catches it."""

    def __init__(self, error: ErrorClass, detail: str) -> None:
        super().__init__(error, detail)
        self.error = error
        self.detail = detail


def caused(error: ErrorClass, cause: str) -> Failure:
    """In the same words from every sender, with what its library says about the cause."""
    return Failure(error, f"{_IN_WORDS[error]} ({cause})")
