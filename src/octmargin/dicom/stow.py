"""Sending objects to a web archive with STOW-RS (PS3.18 10.5), one object a request, as it lies on disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from octmargin.dicom.outgoing import Parcel
from octmargin.dicom.settings import DicomSection, TlsFiles, WebArchive
from octmargin.dicom.storing import Delivery, Fate
from octmargin.dicom.tls import client_context, why_no_tls
from octmargin.errors import ConfigError, PeerUnreachableError

_FAILED_SOP_SEQUENCE, _REFERENCED_SOP_SEQUENCE = "00081198", "00081199"
_FAILURE_REASON, _REFERENCED_UID = "00081197", "00081155"
_DUPLICATE = 0x0111
_MAY_PASS = (0x0110, 0x0213, *range(0xA700, 0xA800))
_PIECE_BYTES = 1 << 18
_UNAVAILABLE = (401, 403, 404, 405, 408, 429)
"""Said of the service or of our rights, not of the object: it is not the object's fault."""


class StowClient:
    """Sends objects; use as a context. ConfigError where a file that it needs cannot be used."""

    def __init__(self, settings: DicomSection, archive: WebArchive) -> None:
        self._archive = archive
        self._timeout_s = settings.timeout_s
        headers = {"Accept": "application/dicom+json"}
        if archive.token_file:
            headers["Authorization"] = f"Bearer {_secret(archive.token_file)}"
        login = (archive.username, _secret(archive.password_file)) if archive.username else None
        self._client = httpx.Client(
            headers=headers,
            auth=login,
            verify=client_context(archive.tls or TlsFiles()),
            timeout=settings.timeout_s,
            trust_env=False,
        )

    def __enter__(self) -> StowClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def store(self, parcel: Parcel) -> Delivery:
        """Send one object; PeerUnreachableError where the service does not answer or does not let us in."""
        boundary = uuid.uuid4().hex
        try:
            response = self._client.post(
                f"{self._archive.url.rstrip('/')}/studies",
                content=_multipart(parcel.path, boundary),
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                    "Content-Length": str(
                        parcel.path.stat().st_size + len(_head(boundary)) + len(_tail(boundary))
                    ),
                },
            )
        except httpx.HTTPError as error:
            raise PeerUnreachableError(f"{self._archive}: {self._why(error)}") from error
        if response.status_code in _UNAVAILABLE or response.status_code >= 500:
            raise PeerUnreachableError(
                f"{self._archive}: says {response.status_code} {response.reason_phrase}; check dicom.web"
            )
        return _delivery(response, parcel.uid)

    def _why(self, error: httpx.HTTPError) -> str:
        url = httpx.URL(self._archive.url)
        if url.scheme == "https":
            # What the client says of a handshake depends on where it was: a connection of our own tells why.
            with suppress(OSError):
                why = why_no_tls(url.host, url.port or 443, self._archive.tls or TlsFiles(), self._timeout_s)
                if why is not None:
                    return f"no TLS with it: {why}"
        return f"does not answer ({str(error) or type(error).__name__}); check dicom.web"


def _head(boundary: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def _tail(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def _multipart(path: Path, boundary: str) -> Iterator[bytes]:
    yield _head(boundary)
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
    yield _tail(boundary)


def _delivery(response: httpx.Response, uid: str) -> Delivery:
    answer = _answer(response)
    if any(_value(item, _REFERENCED_UID) == uid for item in answer.get(_REFERENCED_SOP_SEQUENCE, ())):
        return Delivery(Fate.DELIVERED)
    for item in answer.get(_FAILED_SOP_SEQUENCE, ()):
        if _value(item, _REFERENCED_UID) in (uid, None):
            return _failure(_value(item, _FAILURE_REASON))
    said = f"status {response.status_code} {response.reason_phrase}"
    if response.is_success:
        # It says neither that it has it nor that it has not: asked again, it says more, or has it twice under one UID.
        return Delivery(Fate.FAILED, f"{said}, and nothing of the object")
    return Delivery(Fate.REFUSED, said)


def _failure(reason: Any) -> Delivery:
    if not isinstance(reason, int):
        return Delivery(Fate.FAILED, "not stored, for no reason that it gives")
    if reason == _DUPLICATE:
        return Delivery(Fate.DELIVERED, "was there already")
    return Delivery(Fate.FAILED if reason in _MAY_PASS else Fate.REFUSED, f"status {reason:04X}H")


def _answer(response: httpx.Response) -> dict[str, list[Any]]:
    """The sequences of the answer, as DICOM JSON; empty where it has none."""
    try:
        content = response.json()
    except ValueError:
        return {}
    if isinstance(content, list):
        content = content[0] if content else {}
    if not isinstance(content, dict):
        return {}
    return {
        tag: element["Value"]
        for tag, element in content.items()
        if isinstance(element, dict) and isinstance(element.get("Value"), list)
    }


def _value(item: Any, tag: str) -> Any:
    element = item.get(tag) if isinstance(item, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _secret(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"dicom.web: {path} cannot be read ({error}); name the file with the secret"
        ) from error
