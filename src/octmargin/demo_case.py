"""The demonstration's case: who the patient is said to be, what simulated people decide, and the report they sign.

Everybody in it is invented, and each name says so. What is scanned, the daemon enters into the record by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from octmargin.bus import BrokerSettings, Topics, VerdictMessage
from octmargin.bus.rights import Role, Sender
from octmargin.case.record import events
from octmargin.case.record.diagnosis import as_ordered
from octmargin.case.record.model import (
    CaseSnapshot,
    FaceFinding,
    Interpretation,
    Interpreter,
    Order,
    PatientIdentity,
    PersonName,
    ReExcision,
    SpecimenRecord,
)
from octmargin.case.record.store import CaseStore
from octmargin.commanding import give
from octmargin.errors import OctMarginError
from octmargin.summary import Record

CASE_ID: Final = "demo-1"
RECORD: Final = "record.db"
RECORDINGS: Final = "recordings"
REPORTS: Final = "reports"
_ACTOR: Final = "octmargin demo"
_SURGEON: Final = Interpreter(
    name="Dr. Synthetic (simulated surgeon)", role="operating surgeon", taxonomy="2086X0206X"
)
_READER: Final = Sender(Role.READER, "simulated-reader")
_EXCISED_BEFORE: Final = timedelta(minutes=4)
_REPORT_S: Final = 300.0
_ACTIONS: Final = {
    "suspicious": "re-excised (simulated)",
    "indeterminate": "left to pathology (simulated)",
}


def open_case(folder: Path) -> Path:
    """A new record in `folder`, with a case whose patient and order are invented; gives its path."""
    path = folder / RECORD
    CaseStore.create(path)
    patient = PatientIdentity(
        name=PersonName(family="SYNTHETIC", given="Demonstration"),
        patient_id="SYNTHETIC-1",
        issuer="octmargin demo",
        sex="F",
    )
    order = Order(
        accession="SYNTHETIC-1",
        laterality="left",
        procedure="SYNTHETIC: lumpectomy, left breast",
        diagnoses=as_ordered(["C50.912"]),
    )
    with CaseStore.open(path, writable=True, what=_ACTOR) as store:
        store.append(
            CASE_ID,
            events.Opened(),
            events.Identified(patient=patient),
            events.Ordered(order=order),
            events.Indicated(
                indication="SYNTHETIC: a demonstration; margins of a simulated breast-conserving excision."
            ),
            actor=_ACTOR,
        )
    return path


async def decide(settings: BrokerSettings, topics: Topics, record: Record) -> None:
    """As a simulated reader at the display: a word on each final verdict that is not "nothing suspicious"."""
    while True:
        verdict = await record.final_verdict()
        if verdict.verdict == "nothing_suspicious":
            continue
        arguments = {"face": verdict.face, "sweep": verdict.sweep, **_word_on(verdict)}
        # Where the daemon ends meanwhile, or another sweep came, nothing is decided.
        with contextlib.suppress(OctMarginError):
            await give(settings, topics, _READER, "decide", arguments)


def _word_on(verdict: VerdictMessage) -> dict[str, str]:
    if verdict.verdict == "suspicious":
        return {"subject": "face", "word": "agree", "note": "simulated: dense tissue up to the surface"}
    return {"subject": "face", "word": "unsure", "note": "simulated: not enough to say"}


def interpret_and_sign(path: Path, specimen_id: str) -> bool:
    """Interpret the specimen as the simulated surgeon, make it final and sign; False where nothing was scanned.

    Where somebody signed at the display meanwhile, that stands.
    """
    with CaseStore.open(path, writable=True, what=_ACTOR) as store:
        case = store.case(CASE_ID)
        specimen = case.specimen(specimen_id)
        if specimen is None or not any(not sweep.provisional for sweep in specimen.sweeps):
            return False
        if specimen.signature is None:
            store.append(CASE_ID, *_interpreted(case, specimen), actor=_ACTOR)
    return True


def _interpreted(case: CaseSnapshot, specimen: SpecimenRecord) -> list[events.CaseBody]:
    now, name = datetime.now(UTC), specimen.specimen_id
    findings = tuple(_finding(specimen, face) for face in specimen.faces)
    suspicious = [one.face for one in findings if one.finding == "suspicious"]
    doubtful = [one.face for one in findings if one.finding == "indeterminate"]
    said = [
        "SYNTHETIC: the interpretation of a simulated surgeon; it follows the algorithm's verdicts.",
        f"Suspicious at {', '.join(suspicious)}." if suspicious else "No face is suspicious.",
        *([f"Indeterminate: {', '.join(doubtful)}."] if doubtful else []),
    ]
    bodies: list[events.CaseBody] = [
        events.Described(
            specimen_id=name,
            container="SYNTHETIC container",
            excised_at=max(case.opened_at, specimen.registered_at) - _EXCISED_BEFORE,
        ),
        events.Fixed(specimen_id=name, formalin_at=now),
    ]
    bodies += [
        events.ReExcised(
            specimen_id=name,
            re_excision=ReExcision(face=face, at=now, why="suspicious in OCT (simulated)", by=_SURGEON.name),
        )
        for face in suspicious
    ]
    interpretation = Interpretation(
        by=_SURGEON, at=now, mode="real-time", state="final", faces=findings, text=" ".join(said)
    )
    return [
        *bodies,
        events.Interpreted(specimen_id=name, interpretation=interpretation),
        events.Signed(specimen_id=name, by=_SURGEON),
    ]


def _finding(specimen: SpecimenRecord, face: str) -> FaceFinding:
    sweep = specimen.newest_sweep(face)
    if sweep is None or not sweep.coverage:
        return FaceFinding(face=face, finding="not_assessed")
    return FaceFinding(face=face, finding=sweep.verdict, action=_ACTIONS.get(sweep.verdict, ""))


async def write_report(folder: Path) -> list[str]:
    """Have `octmargin report` write every form of it; gives the lines in which it says what it wrote."""
    forms = [part for form in ("pdf", "html", "text", "coding-json", "coding-csv") for part in ("-f", form)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "octmargin", "report", CASE_ID, "--record", str(folder / RECORD),
        "-o", str(folder / REPORTS), *forms,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_REPORT_S):
            written, trouble = await process.communicate()
    except TimeoutError:
        raise OctMarginError(
            f"the report took more than {_REPORT_S:g} s; is the machine very busy?"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = trouble.decode(errors="replace").strip().splitlines()
        raise OctMarginError(f"the report was not written: {words[-1] if words else 'it said nothing'}")
    return written.decode(errors="replace").splitlines()
