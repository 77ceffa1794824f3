"""TLS with the hospital's services: what is trusted, what we show, and in words why a handshake fails."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from octmargin.dicom.settings import TlsFiles
from octmargin.errors import ConfigError

_UNKNOWN_AUTHORITY = "an authority that is not trusted signed its certificate; name the right one as ca_file"
_OTHER_HOST = "its certificate is not for {host}; name the host that its certificate names"
_NOT_TRUSTED: Final = {
    9: "its certificate is not valid yet; check this machine's clock",
    10: "its certificate has expired; have it renewed, and check this machine's clock",
    23: "its certificate was revoked; ask who runs it",
    # No issuer, self-signed alone or in the chain, no issuer here, no chain.
    **dict.fromkeys((2, 18, 19, 20, 21), _UNKNOWN_AUTHORITY),
    # A name, an address.
    **dict.fromkeys((62, 64), _OTHER_HOST),
}
"""By the codes of OpenSSL's X509_verify_cert."""
_ALERT_WAIT_S = 1.0
"""In TLS 1.3 the other side looks at our certificate after the handshake: its alert comes a little later."""
_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "it asks for a certificate of ours; give cert_file and key_file",
    "UNKNOWN_CA": "it does not know the authority of our certificate; have it trust that one",
    "CERTIFICATE_EXPIRED": "it says that our certificate has expired; renew cert_file",
    "CERTIFICATE_REVOKED": "it says that our certificate was revoked; renew cert_file",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate; check cert_file",
    "BAD_CERTIFICATE": "it does not accept our certificate; check cert_file",
    "UNSUPPORTED_CERTIFICATE": "it does not accept our certificate for a client; check cert_file",
    "ACCESS_DENIED": "it does not let our certificate in; have it allowed there",
    "HANDSHAKE_FAILURE": "no cipher suite or certificate suits both sides; check cert_file and its settings",
    "PROTOCOL_VERSION": "it speaks no TLS 1.2 or newer; have it brought up to date",
    "WRONG_VERSION_NUMBER": "it answers without TLS; check the port, or leave out tls",
    "HTTP_REQUEST": "it answers without TLS; check the port, or leave out tls",
}


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer, which checks who the other side is; ConfigError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=files.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.cert_file:
            _show(context, files)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(files, error) from error
    return context


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For who listens: shows its certificate, and asks for one where there is a `ca_file`."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _show(context, files)
        if files.ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise _unusable(files, error) from error
    return context


def why_no_tls(host: str, port: int, files: TlsFiles, timeout_s: float) -> str | None:
    """In words why there is no TLS connection with a service; None where there is one.

    ConfigError where a file cannot be used, OSError where nothing answers.
    """
    context = client_context(files)
    with socket.create_connection((host, port), timeout=timeout_s) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as connection:
                connection.settimeout(min(_ALERT_WAIT_S, timeout_s))
                try:
                    is_ended = not connection.recv(1)
                except TimeoutError:
                    return None
        except ssl.SSLError as error:
            return _in_words(error, host)
        except ConnectionError:
            is_ended = True
    if not is_ended:
        return None
    what = "accept our certificate; check cert_file" if files.cert_file else "do without ours; give cert_file"
    return f"it ends the connection without a word: it may not {what}, and check that its port takes TLS"


def _in_words(error: ssl.SSLError, host: str) -> str:
    """Why a handshake with `host` failed, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_not_trusted(error, host)
    reason = error.reason or str(error)
    told = next((words for alert, words in _ALERTS.items() if reason.endswith(alert)), None)
    return told or f"TLS fails ({reason.lower().replace('_', ' ')}); check its tls table and certificate"


def _why_not_trusted(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _NOT_TRUSTED:
        return _NOT_TRUSTED[error.verify_code].format(host=host)
    return f"its certificate is not trusted ({error.verify_message}); check it, and ca_file"


def _show(context: ssl.SSLContext, files: TlsFiles) -> None:
    # Without a password of our own OpenSSL would ask for that of an encrypted key at the terminal, and wait for ever.
    context.load_cert_chain(files.cert_file, files.key_file or None, password="")


def _unusable(files: TlsFiles, error: OSError) -> ConfigError:
    named = ", ".join(name for name in (files.ca_file, files.cert_file, files.key_file) if name)
    why = error.strerror or str(error)
    if isinstance(error, ssl.SSLError):
        why = (error.reason or str(error)).lower().replace("_", " ")
    return ConfigError(
        f"tls files {named or '(none)'} cannot be used ({why}); they are PEM, the key without a password"
    )
