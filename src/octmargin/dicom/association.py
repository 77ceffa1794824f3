"""Associations with other application entities, over TLS where it is configured; every wait has an end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.events import InterventionEvent, NotificationEvent

from octmargin.dicom.settings import DicomSection, Peer
from octmargin.dicom.tls import client_context, why_no_tls
from octmargin.errors import PeerUnreachableError

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
        if peer.tls is not None:
            why = why_no_tls(peer.host, peer.port, peer.tls, settings.timeout_s)
            if why is not None:
                return f"no TLS with it: {why}"
        else:
            with socket.create_connection((peer.host, peer.port), timeout=settings.timeout_s):
                pass
    except OSError as error:
        return f"does not answer ({error.strerror or error}); check host, port and whether it runs"
    return "takes the connection and no association; check that port and tls are those of DICOM there"
