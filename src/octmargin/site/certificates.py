"""A small certificate authority: one for a broker, its certificate, and those of its clients.

Keys are ECDSA on P-256, which OpenSSL, mosquitto and every browser take. Needs `cryptography`
(pip install octmargin[broker]).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from octmargin.errors import InputError

AUTHORITY_DAYS = 3650
_EARLIER = timedelta(hours=1)
"""Certificates hold from a little before they are made, for clients whose clock is behind."""
_NO_USAGE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> Self:
        """A new authority, called `name`."""
        return cls._signed_by_itself(_name(name), key, now)

    @classmethod
    def load(cls, certificate_file: Path, key_file: Path) -> Self:
        """The authority in two PEM files; `InputError` where one is not there, or not the other's."""
        certificate = load_certificate(certificate_file)
        key = load_key(key_file)
        if key.public_key() != certificate.public_key():
            raise InputError(
                f"{key_file}: is not the key of {certificate_file}; put the files of one authority there"
            )
        return cls(certificate, key)

    def renewed(self, now: datetime) -> Self:
        """The same authority for longer: name and key stay, so what it signed holds under both certificates."""
        return self._signed_by_itself(self.certificate.subject, self.key, now)

    def sign_broker(
        self, public_key: CertificatePublicKeyTypes, hosts: tuple[str, ...], days: int, now: datetime
    ) -> x509.Certificate:
        """Certificate of a broker that is reached as each of `hosts`, names or IP addresses."""
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        # The subject's name means nothing to clients, which compare the alternative names, and it has 64 characters.
        return self._sign("octmargin broker", public_key, ExtendedKeyUsageOID.SERVER_AUTH, days, now, names)

    def sign_client(
        self, public_key: CertificatePublicKeyTypes, username: str, days: int, now: datetime
    ) -> x509.Certificate:
        """Certificate of a client; the broker takes the common name as its user name."""
        return self._sign(username, public_key, ExtendedKeyUsageOID.CLIENT_AUTH, days, now, None)

    @classmethod
    def _signed_by_itself(cls, name: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime) -> Self:
        public_key = key.public_key()
        builder = (
            _builder(name, name, public_key, AUTHORITY_DAYS, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(**_NO_USAGE | {"key_cert_sign": True, "crl_sign": True}), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    def _sign(
        self,
        common_name: str,
        public_key: CertificatePublicKeyTypes,
        usage: x509.ObjectIdentifier,
        days: int,
        now: datetime,
        names: x509.SubjectAlternativeName | None,
    ) -> x509.Certificate:
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            _builder(self.certificate.subject, _name(common_name), public_key, days, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**_NO_USAGE | {"digital_signature": True}), critical=True)
            # A client's certificate must not do as a broker's.
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_key_identifier(public_key), critical=False)
            .add_extension(issuer_key, critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PEM of a key, not encrypted: who starts a daemon or a broker unattended cannot type a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def load_certificate(file: Path) -> x509.Certificate:
    """The certificate of a PEM file; `InputError` where there is none."""
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); put the certificate there") from error
    except ValueError as error:
        raise InputError(f"{file}: is no certificate in PEM; put the right file there") from error


def days_left(certificate: x509.Certificate, now: datetime) -> float:
    """Days until the certificate's end; below 0 when it is over."""
    return (certificate.not_valid_after_utc - now) / timedelta(days=1)


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Names and addresses for which a broker's certificate was made."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(name.value) for name in names)


def _builder(
    issuer: x509.Name, subject: x509.Name, public_key: CertificatePublicKeyTypes, days: int, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_identifier(public_key: CertificatePublicKeyTypes) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(public_key)


def load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """The key of a PEM file; `InputError` where there is none."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); put the key there for as long as this takes"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{file}: is no private key in PEM without a passphrase; put the right file there"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError(f"{file}: is no elliptic-curve key; put the right file there")
    return key
