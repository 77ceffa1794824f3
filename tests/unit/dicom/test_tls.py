"""TLS with archives that end it themselves: who is let in, and what is said where nobody is."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from tests.certificates import HOST, new_authority, write_identity

from octmargin.dicom.association import associated
from octmargin.dicom.outgoing import Parcel
from octmargin.dicom.settings import DicomSection, Peer, TlsFiles, WebArchive
from octmargin.dicom.storing import Fate
from octmargin.dicom.stow import StowClient
from octmargin.dicom.tls import client_context, server_context
from octmargin.errors import ConfigError, PeerUnreachableError
from octmargin.site.certificates import Authority

from .test_stow import STORED, Handler, Server, parcel

__all__ = ["parcel"]
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"
)
SETTINGS = DicomSection(timeout_s=5.0)


class TlsServer(Server):
    """A web archive that takes TLS itself; what fails in a handshake is its clients' business."""

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving_web(context: ssl.SSLContext | None) -> Iterator[int]:
    with TlsServer((HOST, 0), Handler) as server:
        server.answer = json.dumps(STORED).encode()
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving_dicom(context: ssl.SSLContext | None) -> Iterator[int]:
    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(Verification)
    server = entity.start_server((HOST, 0), block=False, ssl_context=context)
    assert server is not None
    try:
        yield server.socket.getsockname()[1]
    finally:
        entity.shutdown()


def send_to_web(port: int, tls: TlsFiles, one: Parcel) -> None:
    with StowClient(SETTINGS, WebArchive(url=f"https://{HOST}:{port}/dicom-web", tls=tls)) as client:
        assert client.store(one).fate is Fate.DELIVERED


def ask_dicom(port: int, tls: TlsFiles, _: Parcel) -> None:
    with associated(SETTINGS, Peer(host=HOST, port=port, ae_title="ARCHIVE", tls=tls), [Verification]) as one:
        assert one.send_c_echo().Status == 0


BOTH = pytest.mark.parametrize(
    ("serving", "ask"), [(serving_web, send_to_web), (serving_dicom, ask_dicom)], ids=["web", "dicom"]
)


@dataclass(frozen=True)
class Site:
    """Identities of the hospital's archive and of ours, and of others."""

    folder: Path
    authority: Authority
    stranger: Authority
    theirs: TlsFiles
    ours: TlsFiles

    def identity(self, name: str, authority: Authority | None = None, **changes: object) -> TlsFiles:
        return write_identity(self.folder / name, authority or self.authority, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder, authority = tmp_path_factory.mktemp("tls"), new_authority()
    theirs, ours = (write_identity(folder / name, authority) for name in ("theirs", "ours"))
    return Site(folder, authority, new_authority("somebody"), theirs, ours)


@BOTH
def test_both_sides_show_who_they_are_and_a_bundle_of_authorities_is_trusted(  # type: ignore[no-untyped-def]
    site: Site, parcel: Parcel, tmp_path: Path, serving, ask
) -> None:
    stranger = site.identity(f"stranger-{serving.__name__}", site.stranger)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(stranger.ca_file).read_bytes() + Path(site.ours.ca_file).read_bytes())
    with serving(server_context(site.theirs)) as port:
        ask(port, msgspec.structs.replace(site.ours, ca_file=str(bundle)), parcel)


@BOTH
@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("expired", {"starts_days": -9, "ends_days": -2}, "its certificate has expired; have it renewed"),
        ("early", {"starts_days": 2, "ends_days": 9}, "its certificate is not valid yet; check"),
        ("other-host", {"host": "pacs.example"}, "its certificate is not for 127.0.0.1; name the host"),
        ("unknown", {}, "an authority that is not trusted signed its certificate; name"),
    ],
)
def test_a_certificate_of_the_archive_that_does_not_hold_is_told_in_one_line(  # type: ignore[no-untyped-def]
    site: Site, parcel: Parcel, serving, ask, name: str, changes: dict[str, object], told: str
) -> None:
    authority = site.stranger if name == "unknown" else site.authority
    theirs = write_identity(site.folder / f"{name}-{serving.__name__}", authority, **changes)  # type: ignore[arg-type]
    # It trusts the hospital's authority whoever signed its own.
    context = server_context(msgspec.structs.replace(theirs, ca_file=site.theirs.ca_file))
    with serving(context) as port, pytest.raises(PeerUnreachableError) as error:
        ask(port, site.ours, parcel)
    assert f"no TLS with it: {told}" in str(error.value)
    assert "\n" not in str(error.value)


@BOTH
def test_where_our_own_certificate_is_not_taken_is_told(  # type: ignore[no-untyped-def]
    site: Site, parcel: Parcel, serving, ask
) -> None:
    trusted = site.theirs.ca_file
    stranger = site.identity(f"stranger-2-{serving.__name__}", site.stranger)
    expired = site.identity(f"expired-2-{serving.__name__}", starts_days=-9, ends_days=-2)
    shown = {
        "it asks for a certificate of ours; give cert_file": TlsFiles(ca_file=trusted),
        "it does not know the authority of our certificate": msgspec.structs.replace(
            stranger, ca_file=trusted
        ),
        "it says that our certificate has expired; renew": expired,
    }
    with serving(server_context(site.theirs)) as port:
        for told, ours in shown.items():
            with pytest.raises(PeerUnreachableError, match=told):
                ask(port, ours, parcel)


@BOTH
def test_a_port_without_tls_is_told(site: Site, parcel: Parcel, serving, ask) -> None:  # type: ignore[no-untyped-def]
    with serving(None) as port, pytest.raises(PeerUnreachableError, match=r"no TLS with it|no association"):
        ask(port, site.ours, parcel)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(site: Site, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(Path(site.ours.key_file).read_bytes(), None)
    secret = tmp_path / "key.pem"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match="the key without a password"):
        client_context(msgspec.structs.replace(site.ours, key_file=str(secret)))
