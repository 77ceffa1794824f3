"""The record behind the report's page: what a case is, its documents, and what a signer adds to it.

Nothing is computed in the server's process: documents are made by one of their own, and the record is read and written
in a thread. What the record refuses is refused here, in its own words.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec

from octmargin.case.record import events
from octmargin.case.record.events import CaseBody
from octmargin.case.record.model import (
    CaseSnapshot,
    FaceFinding,
    Interpretation,
    SpecimenPhase,
    SpecimenRecord,
    SweepRecord,
)
from octmargin.case.record.store import CaseStore
from octmargin.display.sessions import Session
from octmargin.errors import CaseRefusedError, OctMarginError
from octmargin.interruptible import StandstillError, within
from octmargin.record_settings import RecordSection, Signer
from octmargin.report.identity import patient_line
from octmargin.report.wanted import Form, Wanted

MOST_BODY_BYTES = 65_536
_RECORD_S = 8.0
_DOCUMENT_S = 180.0
_MOST_AT_ONCE = 2
"""Documents that are made at once; beyond, one waits."""
_MOST_WAITING = 8
REAL_TIME = timedelta(hours=2)
"""So long after the newest sweep an interpretation still counts as one during the operation."""
_T = TypeVar("_T")
SweepKey = tuple[str, int, str]
"""Session, number and face."""


class ReportRefusedError(Exception):
    """What was asked for is not done; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class SaidOfFace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the interpreter says of a face."""

    face: str
    finding: Literal["suspicious", "nothing_suspicious", "indeterminate", "not_assessed"]
    action: str = ""


class ToInterpret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of an interpretation; `log_seq` is of the case as the interpreter saw it."""

    log_seq: int
    state: Literal["preliminary", "final"]
    faces: list[SaidOfFace]
    text: str = ""


class ToSign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a signature."""

    log_seq: int


class ReportDesk:
    """`mode` is how an interpretation made here is called: without one real-time as long as the scan is recent.

    `recordings` is where recordings lie, if not as recorded.

    `bscans` are the numbers by which B-scans of sweeps are found here, where these are not the sweeps' own. `actor` is
    who stands in the record for what is done here; where it is empty, whoever is logged in.
    """

    def __init__(
        self,
        section: RecordSection,
        *,
        mode: Literal["real-time", "referred"] | None = None,
        recordings: str = "",
        bscans: Mapping[SweepKey, int] | None = None,
        actor: str = "",
    ) -> None:
        self._section = section
        self._mode = mode
        self._recordings = recordings
        self._bscans = bscans
        self._actor = actor
        self._making = asyncio.Semaphore(_MOST_AT_ONCE)
        self._waiting = 0

    async def case(self, case_id: str, specimen_id: str, session: Session) -> dict[str, Any]:
        """What the page shows beside the document."""

        def consult(store: CaseStore) -> CaseSnapshot:
            return store.consult(case_id, actor=self._by(session), what=f"report's page of {specimen_id}")

        case = await self._in_thread(consult)
        return self._told(case, _specimen(case, specimen_id), session)

    async def document(
        self, case_id: str, specimen_id: str, form: Form, session: Session, *, pictures: bool
    ) -> bytes:
        """The report as it is now."""
        if self._waiting >= _MOST_WAITING:
            raise ReportRefusedError(503, "too many reports are being made; try again in a minute")
        wanted = Wanted(
            record=self._section,
            case_id=case_id,
            specimen_id=specimen_id,
            form=form,
            pictures=pictures,
            recordings=self._recordings,
            actor=self._by(session),
        )
        self._waiting += 1
        try:
            async with self._making:
                return await _made(wanted)
        finally:
            self._waiting -= 1

    async def interpret(
        self, case_id: str, specimen_id: str, said: ToInterpret, session: Session
    ) -> dict[str, Any]:
        """Add an interpretation of whoever is logged in."""
        signer, now = self._must_sign(session), datetime.now(UTC)
        faces = tuple(
            FaceFinding(face=one.face, finding=one.finding, action=one.action) for one in said.faces
        )

        def make(specimen: SpecimenRecord | None) -> CaseBody:
            interpretation = Interpretation(
                by=signer.interpreter,
                at=now,
                mode=self._mode_of(specimen, now),
                state=said.state,
                faces=faces,
                text=said.text,
            )
            return events.Interpreted(specimen_id=specimen_id, interpretation=interpretation)

        return await self._add(case_id, specimen_id, make, said.log_seq, session)

    async def sign(self, case_id: str, specimen_id: str, said: ToSign, session: Session) -> dict[str, Any]:
        """Sign the report as whoever is logged in."""
        body = events.Signed(specimen_id=specimen_id, by=self._must_sign(session).interpreter)
        return await self._add(case_id, specimen_id, lambda _: body, said.log_seq, session)

    def _mode_of(self, specimen: SpecimenRecord | None, now: datetime) -> Literal["real-time", "referred"]:
        """What was scanned long ago is not interpreted during the operation, wherever the page is open."""
        if self._mode is not None or specimen is None:
            return self._mode or "referred"
        newest = max(
            (sweep.ended_at or sweep.started_at for sweep in specimen.sweeps), default=specimen.registered_at
        )
        return "real-time" if now - newest <= REAL_TIME else "referred"

    async def _add(
        self,
        case_id: str,
        specimen_id: str,
        make: Callable[[SpecimenRecord | None], CaseBody],
        log_seq: int,
        session: Session,
    ) -> dict[str, Any]:
        def unchanged(case: CaseSnapshot | None) -> tuple[CaseBody]:
            if self._section.sign_without_login and not _is_synthetic(case, specimen_id):
                raise CaseRefusedError(
                    f"case {case_id}, specimen {specimen_id}: was measured, and nobody logs in here "
                    "(record.sign_without_login); interpret and sign with `octmargin case`"
                )
            if case is not None and case.log_seq != log_seq:
                raise CaseRefusedError(
                    f"case {case_id}: something was added to it since this page showed it; look at it again"
                )
            return (make(case.specimen(specimen_id) if case is not None else None),)

        case = await self._in_thread(
            lambda store: store.append_made(case_id, unchanged, actor=self._by(session))
        )
        return self._told(case, _specimen(case, specimen_id), session)

    def _must_sign(self, session: Session) -> Signer:
        signer = self._signer(session)
        if signer is None:
            raise ReportRefusedError(
                403, "you are none of those who may interpret and sign here (record.signers)"
            )
        return signer

    def _by(self, session: Session) -> str:
        return self._actor or f"{session.role.value}/{session.user}"

    def _signer(self, session: Session) -> Signer | None:
        return self._section.signer(session.user) if session.role.value == "reader" else None

    async def _in_thread(self, work: Callable[[CaseStore], _T]) -> _T:
        def opened() -> _T:
            with CaseStore.open(self._section.file, writable=True, what="the display") as store:
                return work(store)

        try:
            return await asyncio.to_thread(within, _RECORD_S, opened)
        except StandstillError:
            raise ReportRefusedError(
                503, "the record's disk does not answer; whether it was recorded is not known: look again"
            ) from None
        except CaseRefusedError as error:
            raise ReportRefusedError(409, str(error)) from None
        except OctMarginError as error:
            raise ReportRefusedError(503, str(error)) from None

    def _told(self, case: CaseSnapshot, specimen: SpecimenRecord, session: Session) -> dict[str, Any]:
        signer, said = self._signer(session), specimen.interpretation
        return {
            "case_id": case.case_id,
            "specimen_id": specimen.specimen_id,
            "patient": patient_line(case),
            "laterality": specimen.laterality,
            "specimens": [one.specimen_id for one in case.specimens],
            "log_seq": case.log_seq,
            "case_phase": case.phase,
            "phase": specimen.phase,
            "synthetic": specimen.is_synthetic,
            "conflicts": [conflict.text for conflict in case.conflicts],
            "mode": self._mode_of(specimen, datetime.now(UTC)),
            "signer": None if signer is None else {"name": signer.name, "role": signer.interpreter.role},
            "faces": [self._face(specimen, face) for face in specimen.faces],
            "interpretation": None if said is None else msgspec.to_builtins(said),
            "signature": None if specimen.signature is None else msgspec.to_builtins(specimen.signature),
        }

    def _face(self, specimen: SpecimenRecord, face: str) -> dict[str, Any]:
        """What the algorithm and readers say of a face, beside which somebody interprets it."""
        sweep = specimen.newest_sweep(face)
        if sweep is None:
            return {"face": face, "sweep": None}
        decisions = [one for one in specimen.decisions if (one.session, one.sweep, one.face) == sweep.key]
        return {
            "face": face,
            "sweep": sweep.sweep,
            "bscans": self._bscans.get(sweep.key) if self._bscans is not None else sweep.sweep,
            "session": sweep.session,
            "outdated": _is_outdated(specimen, sweep),
            "verdict": sweep.verdict,
            "provisional": sweep.provisional,
            "coverage": sweep.coverage,
            "visualised_depth_mm": sweep.visualised_depth_mm,
            "distance_mm": sweep.distance_mm,
            "reasons": sweep.reasons,
            "frames": sweep.frames,
            "grid": sweep.grid,
            "key_views": msgspec.to_builtins(sweep.key_views),
            "decisions": msgspec.to_builtins(decisions),
        }


def _specimen(case: CaseSnapshot, specimen_id: str) -> SpecimenRecord:
    specimen = case.specimen(specimen_id)
    if specimen is None:
        known = ", ".join(one.specimen_id for one in case.specimens) or "none"
        raise ReportRefusedError(
            404, f"case {case.case_id} has no specimen {specimen_id[:64]}; it has {known}"
        )
    return specimen


def _is_outdated(specimen: SpecimenRecord, sweep: SweepRecord) -> bool:
    """Whether what was said of its face may be about an older sweep: it is to be said anew."""
    said = specimen.interpretation
    if said is None:
        return False
    if specimen.phase in (SpecimenPhase.SCANNED, SpecimenPhase.DISCONTINUED):
        newer = [one for one in specimen.sweeps if (one.ended_at or one.started_at) > said.at]
        # Entered later, of a time before: which one it was is not known.
        return sweep in newer or not newer
    return False


def _is_synthetic(case: CaseSnapshot | None, specimen_id: str) -> bool:
    specimen = case.specimen(specimen_id) if case is not None else None
    return specimen is not None and all(sweep.synthetic for sweep in specimen.sweeps)


async def _made(wanted: Wanted) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "octmargin.report.one",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_DOCUMENT_S):
            document, trouble = await process.communicate(msgspec.json.encode(wanted))
    except TimeoutError:
        raise ReportRefusedError(503, f"the report was not made within {_DOCUMENT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        words = trouble.decode(errors="replace").strip().splitlines()
        raise ReportRefusedError(409, words[-1] if words else "the report could not be made")
    return document
