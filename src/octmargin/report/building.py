"""From a case as its record tells it to the report of one of its specimens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo

import msgspec

from octmargin import __version__
from octmargin.case.record.model import CaseSnapshot, SpecimenRecord
from octmargin.errors import InputError
from octmargin.report.coding import SiteCoding, coding_sheet, load_site, load_tables
from octmargin.report.document import FacePictures, Field, ReportDocument
from octmargin.report.faces import disagreements, face_names, face_section, not_seen
from octmargin.report.identity import case_fields, patient_fields, patient_line, specimen_fields
from octmargin.report.outcome import (
    addendum_texts,
    margin_status,
    no_disagreement,
    pathology_rows,
    re_excision_fields,
    status_by,
)
from octmargin.report.provenance import record_fields, version_sets
from octmargin.report.signed import as_signed, later_fields
from octmargin.report.signing import signing_of
from octmargin.report.standing import WATERMARKS, alerts, state_of, state_text
from octmargin.report.wording import NOT_RECORDED, cleaned, printable, when
from octmargin.words import NOTICE

TITLE = "Intraoperative OCT margin assessment"
NOT_SIGNED = (
    "No part of what was signed: each file has it made again, of the tables, the release of diagnosis codes and the "
    "site's data of then."
)
SYNTHETIC_NOTICE = "SYNTHETIC spectra: computed, not measured. Nothing here was seen in tissue."


def subject_of(snapshot: CaseSnapshot, specimen: SpecimenRecord) -> str:
    """What a report is of, below its title and in the PDF's own."""
    return f"Specimen {specimen.specimen_id} · case {snapshot.case_id}"


def build_report(
    snapshot: CaseSnapshot,
    specimen_id: str,
    *,
    pictures: Mapping[str, FacePictures] | None = None,
    site: SiteCoding | None = None,
    zone: tzinfo = UTC,
    now: datetime | None = None,
    source: str = "the record",
    signed: CaseSnapshot | None = None,
) -> ReportDocument:
    """The report of one specimen; `pictures` by face, as `draw_pictures` gives them, `source` where the case is from.

    `signed` is the case as the log has it up to the signature of this specimen's report: what was signed is shown as
    it was then, and what came later apart from it.

    InputError where the case has no such specimen, or where something else is not as it was signed.
    """
    tables = load_tables()
    # Checked on the record as it is: what is written out for paper is no code any more.
    newest = _specimen_of(snapshot, specimen_id)
    original = as_signed(snapshot, newest, signed)
    coding = coding_sheet(snapshot, original, site or load_site(None, tables), tables, zone=zone)
    if original.signature is not None:
        coding = msgspec.structs.replace(coding, notice=f"{coding.notice} {NOT_SIGNED}")
    snapshot, specimen = cleaned(snapshot), cleaned(original)
    state = state_of(specimen)
    created = now or datetime.now(UTC)
    interpretation = specimen.interpretation
    drawn = {printable(face): found for face, found in (pictures or {}).items()}
    return ReportDocument(
        title=TITLE,
        subject=subject_of(snapshot, specimen),
        patient_line=patient_line(snapshot),
        state=state,
        state_text=state_text(specimen, zone),
        watermark=WATERMARKS[state],
        notice=NOTICE,
        synthetic_notice=SYNTHETIC_NOTICE if specimen.is_synthetic else "",
        alerts=tuple(alerts(snapshot, specimen, created)),
        patient=tuple(patient_fields(snapshot)),
        case=tuple(case_fields(snapshot, zone)),
        specimen=tuple(specimen_fields(specimen, zone)),
        indication=snapshot.indication or NOT_RECORDED,
        margin_status=tuple(margin_status(specimen)),
        status_by=status_by(specimen),
        interpretation=interpretation.text if interpretation is not None else "",
        faces=tuple(face_section(specimen, face, drawn, zone) for face in face_names(specimen)),
        not_seen=tuple(
            Field(label=face, value="; ".join(not_seen(specimen.newest_sweep(face))))
            for face in face_names(specimen)
        ),
        limits=LIMITS,
        disagreements=tuple(disagreements(specimen)),
        no_disagreement=no_disagreement(specimen),
        re_excisions=tuple(re_excision_fields(specimen, zone)),
        no_re_excision="No re-excision is recorded.",
        addenda=tuple(addendum_texts(specimen, zone)),
        later=tuple(later_fields(cleaned(newest), specimen, zone)),
        pathology=tuple(pathology_rows(specimen, zone)),
        no_pathology="No result of pathology is recorded yet; the margins are to be correlated when there is one.",
        signing=signing_of(specimen, zone),
        versions=tuple(version_sets(specimen)),
        record=tuple(record_fields(snapshot, specimen, coding, printable(source))),
        coding=cleaned(coding),
        created=f"Made {when(created, zone)} by octmargin {__version__}",
        file_stem=file_stem(original),
    )


LIMITS = (
    "Nothing is said of tissue deeper than the visualised depth: it is what nine in ten of the usable blocks reach.",
    "OCT shows one to two millimetres at most. It cannot certify a margin of 2 mm.",
    "Blocks that were lost, poor or not scanned are not counted as nothing suspicious.",
    "The algorithm and the reader are separate entries. Neither replaces final pathology.",
)


def _specimen_of(snapshot: CaseSnapshot, specimen_id: str) -> SpecimenRecord:
    specimen = snapshot.specimen(specimen_id)
    if specimen is None:
        known = ", ".join(one.specimen_id for one in snapshot.specimens) or "none"
        raise InputError(f"case {snapshot.case_id}: has no specimen {specimen_id}; registered are: {known}")
    return specimen


def file_stem(specimen: SpecimenRecord) -> str:
    """What the files of its report are called, but for their ending: the state is in it."""
    name = specimen.specimen_id
    safe = "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "-" for one in name)
    return f"report-{safe.replace('..', '-')}-{state_of(specimen)}"
