"""`octmargin case list | show`: what the record holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from octmargin.case.record.lock import user
from octmargin.case.record.model import CaseSnapshot, SpecimenRecord
from octmargin.case.record.store import CaseStore
from octmargin.commands.case.common import CaseId, RecordFile, echo, warnings
from octmargin.commands.case.common import record as open_record
from octmargin.words import counted, percent

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(record: RecordFile, json_output: AsJson = False) -> None:
    """List the cases, without who the patients are."""
    with CaseStore.open(record) as store:
        case_ids = store.case_ids()
        cases = {case.case_id: case for case in store.cases()}
    if json_output:
        typer.echo(msgspec.json.encode([_row(case_id, cases.get(case_id)) for case_id in case_ids]).decode())
        return
    for case_id in case_ids:
        typer.echo(_line(case_id, cases.get(case_id)))
    typer.echo(counted(len(case_ids), "case"))


def _row(case_id: str, case: CaseSnapshot | None) -> dict[str, object]:
    if case is None:
        return {"case_id": case_id, "phase": "erased"}
    return {
        "case_id": case_id,
        "phase": case.phase,
        "opened_at": case.opened_at,
        "closed_at": case.closed_at,
        "specimens": {specimen.specimen_id: specimen.phase for specimen in case.specimens},
    }


def _line(case_id: str, case: CaseSnapshot | None) -> str:
    if case is None:
        return f"{case_id}  erased"
    specimens = ", ".join(f"{one.specimen_id} {one.phase}" for one in case.specimens) or "no specimen"
    return f"{case_id}  {case.phase}  {_time(case.opened_at)}  {specimens}"


def show(record: RecordFile, case_id: CaseId, json_output: AsJson = False) -> None:
    """Show a case; that somebody looked is noted in the record."""
    with open_record(record) as store:
        case = store.consult(case_id, actor=user(), what="shown")
    if json_output:
        typer.echo(msgspec.json.encode(case).decode())
        return
    for line in _text(case):
        echo(line)


def _text(case: CaseSnapshot) -> list[str]:
    lines = [f"case {case.case_id}: {case.phase}, opened {_time(case.opened_at)}"]
    if case.patient is not None:
        patient = case.patient
        born = f", born {patient.birth_date}" if patient.birth_date else ""
        sex = f", {patient.sex}" if patient.sex != "U" else ""
        lines.append(f"patient: {patient.name} ({patient.patient_id}){born}{sex}")
    if case.order is not None:
        order = case.order
        codes = ", ".join(order.diagnosis_codes) or "no diagnosis code"
        lines.append(
            f"order: {order.accession or 'no accession number'}, {order.laterality}, {codes} ({order.entered})"
        )
    lines.append(f"indication: {case.indication or 'not given'}")
    for specimen in case.specimens:
        lines += _specimen(specimen)
    lines += [f"! {warning}" for warning in warnings(case, datetime.now(UTC))]
    lines.append(f"head: {case.log_seq}:{case.log_head}")
    return lines


def _specimen(specimen: SpecimenRecord) -> list[str]:
    orientation = specimen.orientation or "orientation not stated"
    lines = [
        f"specimen {specimen.specimen_id}: {specimen.kind}, {specimen.laterality}, {orientation}, {specimen.phase}"
    ]
    if specimen.is_synthetic:
        lines.append("  SYNTHETIC: its spectra were computed, not measured")
    for what, at in (("excised", specimen.excised_at), ("in formalin", specimen.formalin_at)):
        lines.append(f"  {what}: {_time(at) if at is not None else 'not stated'}")
    if specimen.discontinued is not None:
        given_up = specimen.discontinued
        lines.append(f"  discontinued {_time(given_up.at)} by {given_up.by}: {given_up.why}")
    lines += [f"  {line}" for face in specimen.faces for line in _face(specimen, face)]
    if specimen.interpretation is not None:
        said = specimen.interpretation
        lines.append(f"  interpretation: {said.state}, {said.mode}, by {said.by.name}, {said.by.role}")
    if specimen.signature is not None:
        signature = specimen.signature
        lines.append(f"  signed {_time(signature.at)} by {signature.by.name}, {signature.by.role}")
    lines += [
        f"  addendum {one.number}{' (correction)' if one.corrects else ''}, {_time(one.at)}, {one.by.name}: {one.text}"
        for one in specimen.addenda
    ]
    return lines


def _face(specimen: SpecimenRecord, face: str) -> list[str]:
    sweep = specimen.newest_sweep(face)
    if sweep is None:
        lines = [f"{face}: not scanned"]
    else:
        depth = (
            "nothing seen"
            if sweep.visualised_depth_mm is None
            else f"{sweep.visualised_depth_mm:.2f} mm deep"
        )
        seen = f"coverage {percent(sweep.coverage)}, {depth}, {sweep.lost_frames} frames lost"
        lines = [
            f"{face}: {sweep.verdict}{' (provisional)' if sweep.provisional else ''}, {seen} (sweep {sweep.sweep})"
        ]
    said = {
        finding.face: finding
        for finding in (specimen.interpretation.faces if specimen.interpretation else ())
    }
    if face in said:
        action = f", {said[face].action}" if said[face].action else ""
        lines.append(f"  interpreter: {said[face].finding}{action}")
    lines += [
        f"  {one.by} ({one.role}): {one.word}{f', {one.note}' if one.note else ''} (sweep {one.sweep})"
        for one in specimen.decisions
        if one.face == face
    ]
    lines += [
        f"  re-excised {_time(one.at)} by {one.by}: {one.why}{'' if one.immediate else ' (in another operation)'}"
        for one in specimen.re_excisions
        if one.face == face
    ]
    lines += [
        f"  pathology: {one.finding}{f', {one.entity}' if one.entity else ''}"
        + (f", {one.distance_mm:g} mm" if one.distance_mm is not None else "")
        for one in specimen.pathology
        if one.face == face
    ]
    return lines


def _time(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
