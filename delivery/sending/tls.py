"""TLS for the reference sender, on our own sockets."""

import socket
import ssl
from functools import lru_cache
from typing import Any

import certifi
from urllib3.util.ssltransport import SSLTransport

from delivery.sending.trust import CIPHERS


class _Context(ssl.SSLContext):
    """Reads from its sockets itself, and gives OpenSSL what came: OpenSSL would read on for as long as records without
    content come, past every deadline and limit."""

    def wrap_socket(self, sock: socket.socket, *args: Any, server_hostname: Any = None, **kwargs: Any) -> Any:
        return SSLTransport(sock, self, server_hostname)


@lru_cache(maxsize=4)
def client_context(ca_file: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificates and names verified. Shared, because reading the authorities takes over 10 ms."""
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=certifi.where())
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As in libcurl, a trusted certificate needs no root.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context
