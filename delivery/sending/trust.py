"""What the senders accept of TLS: certifi's authorities, those of the operator's own file, and the ciphers."""

import tempfile
from pathlib import Path

import certifi

CIPHERS = "DEFAULT:!kDHE"
"""Without Diffie-Hellman over a group that the server makes: one of 10,000 bits costs a client a second."""


class Bundle:
    """One file with all trusted certificates, for libraries that take a single file. `close` removes it."""

    def __init__(self, ca_file: str) -> None:
        self._made: Path | None = None
        self.path = certifi.where()
        if ca_file:
            together = Path(certifi.where()).read_bytes() + b"\n" + Path(ca_file).read_bytes()
            with tempfile.NamedTemporaryFile(prefix="authorities-", suffix=".pem", delete=False) as file:
                file.write(together)
            self._made = Path(file.name)
            self.path = file.name

    def close(self) -> None:
        if self._made is not None:
            self._made.unlink(missing_ok=True)
