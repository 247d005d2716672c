"""The exception by which a sender's parts report that an attempt failed. It never leaves the package."""

from delivery.outcomes import ErrorClass

_IN_WORDS = {
    ErrorClass.DNS: "the name does not resolve",
    ErrorClass.REFUSED: "the connection was refused, or the host cannot be reached",
    ErrorClass.CONNECT_TIMEOUT: "connecting took too long",
    ErrorClass.TIMEOUT: "the answer was not complete in time",
    ErrorClass.RESET: "the connection ended before the answer was complete",
    ErrorClass.TLS: "the TLS handshake failed",
    ErrorClass.INVALID: "the answer is not HTTP/1",
    ErrorClass.INTERNAL: "the HTTP client failed",
}


class Failure(Exception):  # noqa: N818 - the endpoint's, which `send` turns into an Outcome
    """Deliberately not an OSError, an HTTPException or a urllib3 error, which libraries on the way would catch."""

    def __init__(self, error: ErrorClass, detail: str) -> None:
        super().__init__(error, detail)
        self.error = error
        self.detail = detail


def caused(error: ErrorClass, cause: str) -> Failure:
    """A Failure with the same text from every sender, followed by what its library says about the cause."""
    return Failure(error, f"{_IN_WORDS[error]} ({cause})")


def without_socket(error: OSError) -> Failure:
    """None could be created, because too many files are open, say: that is not the endpoint's fault."""
    return caused(ErrorClass.INTERNAL, error.strerror or str(error))
