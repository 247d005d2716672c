"""Certificates for HTTPS receivers, valid ones and ones with a single fault, and the authority that issues them."""

import datetime
import ssl
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = EllipticCurvePrivateKey | RSAPrivateKey

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A certificate authority. Clients trust it through `ca_file`."""

    directory: Path
    key: EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def server(
        self,
        name: str = "good",
        *,
        host: str = "localhost",
        expired: bool = False,
        self_signed: bool = False,
        key: Key | None = None,
    ) -> ssl.SSLContext:
        """A server's TLS context with a certificate for `host`, and for 127.0.0.1 if `host` is localhost."""
        key = key or generate_private_key(SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            alternatives.append(x509.IPAddress(IPv4Address("127.0.0.1")))
        issuer = (_name(host), key) if self_signed else (self.certificate.subject, self.key)
        builder = _builder(host, key, issuer[0], expired).add_extension(
            x509.SubjectAlternativeName(alternatives), critical=False
        )
        certificate = builder.sign(issuer[1], hashes.SHA256())
        path = self.directory / f"{name}.pem"
        path.write_bytes(_key_pem(key) + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def new_authority(directory: Path) -> Authority:
    key = generate_private_key(SECP256R1())
    name = "The tests' own authority"
    builder = _builder(name, key, _name(name), expired=False).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    authority = Authority(directory, key, builder.sign(key, hashes.SHA256()))
    authority.ca_file.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    return authority


def _builder(name: str, key: Key, issuer: x509.Name, expired: bool) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * _DAY)
        .not_valid_after(now - _DAY if expired else now + 10 * _DAY)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
