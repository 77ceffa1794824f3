"""Certificates of a hospital's own authority, as its services and octmargin would have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from octmargin.dicom.settings import TlsFiles
from octmargin.site.certificates import Authority, certificate_pem, key_pem, new_key

HOST = "127.0.0.1"


def new_authority(name: str = "hospital") -> Authority:
    return Authority.create(name, new_key(), datetime.now(UTC))


def write_identity(
    folder: Path, authority: Authority, *, host: str = HOST, starts_days: int = -1, ends_days: int = 1
) -> TlsFiles:
    """Certificate and key of one side, which both asks and listens, and the authority that signed them.

    Valid from `starts_days` to `ends_days` from now.
    """
    folder.mkdir()
    key, now = new_key(), datetime.now(UTC)
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    name = x509.IPAddress(ip_address(host)) if host == HOST else x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(authority.certificate.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts_days))
        .not_valid_after(now + timedelta(days=ends_days))
        .add_extension(usages, critical=False)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    ca, cert, secret = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca.write_bytes(certificate_pem(authority.certificate))
    cert.write_bytes(certificate_pem(certificate))
    secret.write_bytes(key_pem(key))
    return TlsFiles(ca_file=str(ca), cert_file=str(cert), key_file=str(secret))
