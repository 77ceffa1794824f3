"""Associations with other application entities, over TLS where it is configured; every wait has an end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.events import InterventionEvent, NotificationEvent

from octmargin.dicom.settings import DicomSection, Peer, TlsFiles
from octmargin.errors import ConfigError, PeerUnreachableError

# A volume is sent as it lies on disk, in pieces: it is not to be in memory twice.
_config.STORE_SEND_CHUNKED_DATASET = True
# What goes wrong is said by exceptions; identities of patients are in no log.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False

Context = tuple[str, tuple[str, ...]]
"""SOP class, transfer syntaxes."""
Handler = tuple[NotificationEvent | InterventionEvent, Callable[..., Any]]
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def application_entity(settings: DicomSection) -> AE:
    """This application, with the timeouts of `settings`."""
    entity = AE(ae_title=settings.ae_title)
    entity.acse_timeout = settings.timeout_s
    entity.dimse_timeout = settings.timeout_s
    entity.network_timeout = settings.timeout_s
    entity.connection_timeout = settings.timeout_s
    return entity


@contextmanager
def associated(
    settings: DicomSection, peer: Peer, contexts: Iterable[str | Context], handlers: Sequence[Handler] = ()
) -> Iterator[Association]:
    """An association with `peer` for `contexts`, SOP classes or such with their transfer syntaxes.

    PeerUnreachableError where there is none to be had; ConfigError where a file for TLS cannot be used.
    """
    entity = application_entity(settings)
    for context in contexts:
        sop_class, syntaxes = (context, _PLAIN) if isinstance(context, str) else context
        entity.add_requested_context(sop_class, list(syntaxes))
    tls = None if peer.tls is None else (client_context(peer.tls), peer.host)
    association = entity.associate(
        peer.host, peer.port, ae_title=peer.ae_title, tls_args=tls, evt_handlers=list(handlers)
    )
    if not association.is_established:
        raise PeerUnreachableError(f"{peer}: {_why(association, settings, peer)}")
    try:
        yield association
    except BaseException:
        # An answer may still be on its way: there is no orderly end.
        association.abort()
        raise
    if association.is_established:
        association.release()


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer, which checks who the other side is; ConfigError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=files.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.cert_file:
            context.load_cert_chain(files.cert_file, files.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(files, error) from error
    return context


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For who listens: shows its certificate, and asks for one where there is a `ca_file`."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(files.cert_file, files.key_file or None)
        if files.ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise _unusable(files, error) from error
    return context


def _unusable(files: TlsFiles, error: Exception) -> ConfigError:
    named = ", ".join(name for name in (files.ca_file, files.cert_file, files.key_file) if name)
    return ConfigError(f"tls files {named or '(none)'} cannot be used ({error}); check the dicom tables")


def _why(association: Association, settings: DicomSection, peer: Peer) -> str:
    """Why there is no association, in words, with what to do."""
    if association.is_rejected:
        rejection = association.acceptor.primitive
        said = rejection.reason_str if rejection else "it does not say why"
        ours, theirs = settings.ae_title, peer.ae_title
        return f"refuses the association ({said}); check that it knows {ours} and is called {theirs}"
    if association.acceptor.primitive is not None and not association.accepted_contexts:
        return "offers none of the services that are needed; check what it is configured for"
    return _why_no_connection(settings, peer)


def _why_no_connection(settings: DicomSection, peer: Peer) -> str:
    """Pynetdicom does not tell what its socket said: a connection of our own does."""
    try:
        with socket.create_connection((peer.host, peer.port), timeout=settings.timeout_s) as plain:
            if peer.tls is not None:
                with client_context(peer.tls).wrap_socket(plain, server_hostname=peer.host):
                    pass
    except ssl.SSLError as error:
        return f"TLS fails ({error.reason or error}); check tls of this peer and its certificate"
    except OSError as error:
        return f"does not answer ({error.strerror or error}); check host, port and whether it runs"
    return "takes the connection and no association; check that port and tls are those of DICOM there"
