"""The certificate authorities that the senders trust: certifi's, and those of the operator's own file."""

import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

import certifi


@lru_cache(maxsize=4)
def client_context(ca_file: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificates and names verified. Shared, because reading the authorities takes over 10 ms."""
    context = ssl.create_default_context(cafile=certifi.where())
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As in libcurl, a trusted certificate needs no root, and old certificates of private authorities are accepted.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


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
