"""Storage commitment, push model: the archive is asked whether it is responsible for what it was sent.

The archive answers with an association of its own, or on the one that asked; it is listened for on both. What it does
not answer in time is asked again in the next round.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from octmargin.dicom.association import Handler, application_entity, associated
from octmargin.dicom.outgoing import Parcel
from octmargin.dicom.settings import Commitment, DicomSection, Peer
from octmargin.dicom.tls import server_context
from octmargin.errors import ConfigError, PeerUnreachableError

_WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
_REQUEST = 1
_DONE, _WITH_FAILURES = 1, 2
_SUCCESS, _NO_SUCH_ACTION, _UNKNOWN_TRANSACTION = 0x0000, 0x0123, 0x0110


@dataclass(frozen=True, slots=True)
class Committed:
    """What the archive said: UIDs that it is responsible for, and why it is not for the others."""

    uids: frozenset[str]
    refused: dict[str, str]


class _Answer:
    """Takes the report of one transaction, on whichever association it comes."""

    def __init__(self, transaction: str) -> None:
        self._transaction = transaction
        self._came = threading.Event()
        self._committed: Committed | None = None

    def wait(self, seconds: float) -> Committed | None:
        """The report; None where it does not come in time."""
        self._came.wait(seconds)
        return self._committed

    def take(self, event: evt.Event) -> tuple[int, None]:
        """Handle N-EVENT-REPORT."""
        if event.event_type not in (_DONE, _WITH_FAILURES):
            return _NO_SUCH_ACTION, None
        report = event.event_information
        if report.get("TransactionUID") != self._transaction:
            return _UNKNOWN_TRANSACTION, None
        self._committed = Committed(
            frozenset(item.ReferencedSOPInstanceUID for item in report.get("ReferencedSOPSequence", [])),
            {
                item.ReferencedSOPInstanceUID: f"reason {item.get('FailureReason', 0):04X}H"
                for item in report.get("FailedSOPSequence", [])
            },
        )
        self._came.set()
        return _SUCCESS, None


def ask_for_commitment(settings: DicomSection, parcels: Sequence[Parcel]) -> Committed | None:
    """Ask `dicom.archive` to commit itself to `parcels`; None where it does not answer in time.

    PeerUnreachableError where it cannot be asked; ConfigError where its answer cannot be listened for.
    """
    archive, commitment = settings.archive, settings.commitment
    if archive is None or commitment is None:
        raise ConfigError(
            "dicom.commitment or dicom.archive is missing; configure both to ask for commitment"
        )
    answer = _Answer(generate_uid(None))
    handlers: list[Handler] = [(evt.EVT_N_EVENT_REPORT, answer.take)]
    with _listening(settings, archive, commitment, handlers):
        deadline_s = time.monotonic() + commitment.wait_s
        with associated(settings, archive, [StorageCommitmentPushModel], handlers) as association:
            status, _ = association.send_n_action(
                _request(answer, parcels), _REQUEST, StorageCommitmentPushModel, _WELL_KNOWN_INSTANCE
            )
            if status.get("Status") != _SUCCESS:
                code = status.get("Status")
                said = "does not answer" if code is None else f"says {code:04X}H"
                raise PeerUnreachableError(f"{archive}: {said} when asked for storage commitment")
        return answer.wait(max(0.0, deadline_s - time.monotonic()))


def _request(answer: _Answer, parcels: Sequence[Parcel]) -> Dataset:
    request = Dataset()
    request.TransactionUID = answer._transaction  # noqa: SLF001 - of this module
    request.ReferencedSOPSequence = [_reference(parcel) for parcel in parcels]
    return request


def _reference(parcel: Parcel) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = parcel.sop_class
    item.ReferencedSOPInstanceUID = parcel.uid
    return item


@contextmanager
def _listening(
    settings: DicomSection, archive: Peer, commitment: Commitment, handlers: Sequence[Handler]
) -> Iterator[None]:
    entity = application_entity(settings)
    # The one that opens the association is the provider of the service here, against the habit.
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    tls = None if archive.tls is None else server_context(archive.tls)
    try:
        entity.start_server(
            (commitment.host, commitment.port), block=False, ssl_context=tls, evt_handlers=list(handlers)
        )
    except OSError as error:
        raise ConfigError(
            f"dicom.commitment: {commitment.host}:{commitment.port} cannot be listened on ({error.strerror}); "
            "name another port, and tell the archive"
        ) from error
    try:
        yield
    finally:
        entity.shutdown()
