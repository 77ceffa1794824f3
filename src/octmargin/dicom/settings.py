"""The `[dicom]` table of the configuration: who this is, whom it talks to, and where what is to be sent waits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from octmargin.errors import ConfigError

_AE_TITLE = "^[A-Za-z0-9_][A-Za-z0-9_. -]{0,15}$"
_UID_ROOT = "^[0-2]([.](0|[1-9][0-9]*))+$"
_URL = "^https?://[^ /?#]+(/[^ ?#]*)?$"
IN_WORDS = {
    _AE_TITLE: "up to 16 letters without accents, digits, spaces, _, . and -, beginning with none of the last three",
    _UID_ROOT: "numbers without leading zeros, separated by dots, the first one 0, 1 or 2",
    _URL: "http:// or https://, a host, and a path without ? and #",
}
"""What patterns ask for, for people."""
AeTitle = Annotated[str, Meta(pattern=_AE_TITLE)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Host = Annotated[str, Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
UidRoot = Annotated[str, Meta(pattern=_UID_ROOT, max_length=24)]
"""Room is left for the 39 digits of a 128-bit number: a UID has 64 characters at most."""


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a key that is not here is an error, never ignored."""


class TlsFiles(_Section, frozen=True):
    """Files for TLS, PEM. Without `ca_file` the system's authorities are trusted."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __post_init__(self) -> None:
        if self.key_file and not self.cert_file:
            raise ConfigError("a tls table has key_file without cert_file; give the certificate too")


class Peer(_Section, frozen=True):
    """Another application entity: where it listens, and its title."""

    host: Host
    port: Port
    ae_title: AeTitle
    tls: TlsFiles | None = None

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


class WebArchive(_Section, frozen=True):
    """An archive that takes STOW-RS; `url` is that of its DICOMweb service, the part before `/studies`."""

    url: Annotated[str, Meta(pattern=_URL)]
    tls: TlsFiles | None = None
    username: str = ""
    password_file: str = ""
    """The password alone."""
    token_file: str = ""
    """A bearer token alone."""

    def __post_init__(self) -> None:
        if self.token_file and self.username:
            raise ConfigError("dicom.web has username and token_file; give one of them")
        if bool(self.username) != bool(self.password_file):
            raise ConfigError(
                "dicom.web needs username and password_file, or neither; give the other one too"
            )

    def __str__(self) -> str:
        return self.url


class Commitment(_Section, frozen=True):
    """Ask the archive to commit itself to what it was sent; `host` and `port` are where its answer is awaited."""

    port: Port
    host: Host = "0.0.0.0"  # noqa: S104 - the archive opens the association, and rarely runs on this machine
    wait_s: Positive = 30.0


class DicomSection(_Section, frozen=True):
    """The whole table. Peers that are left out are not talked to."""

    ae_title: AeTitle = "OCTMARGIN"
    institution: Annotated[str, Meta(max_length=64)] = ""
    uid_root: UidRoot | None = None
    """The site's own; UIDs derived from UUIDs (2.25) without it."""
    queue_folder: Annotated[str, Meta(min_length=1)] | None = None
    """Needed to send anything; a default that depends on where a command runs would be several queues."""
    queue_objects: Count = 10_000
    queue_gb: Positive = 50.0
    timeout_s: Positive = 30.0
    """For an association, each answer, and a request to a web archive."""
    retry_min_s: Positive = 1.0
    retry_max_s: Positive = 300.0
    worklist: Peer | None = None
    performed_step: Peer | None = None
    archive: Peer | None = None
    web: WebArchive | None = None
    commitment: Commitment | None = None

    def __post_init__(self) -> None:
        if self.commitment is not None and self.archive is None:
            raise ConfigError("dicom.commitment asks dicom.archive, which is not there; give both or neither")
        if self.retry_max_s < self.retry_min_s:
            raise ConfigError("dicom.retry_max_s is below dicom.retry_min_s; give it at least as much")

    def backoff_s(self, attempt: int) -> float:
        """Pause after failed attempt `attempt` (0, 1, ...): doubles up to the maximum."""
        return min(self.retry_max_s, self.retry_min_s * 2.0 ** min(attempt, 32))
