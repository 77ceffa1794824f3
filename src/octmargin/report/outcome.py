"""What came of a specimen: margin status, re-excisions, addenda, pathology."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from octmargin.case.record.model import FaceFinding, SpecimenRecord, SweepRecord
from octmargin.report.coding.suggest import NOT_INTERPRETED
from octmargin.report.document import AddendumText, Field, PathologyRow, Tone
from octmargin.report.faces import algorithm_word, face_names, findings_of, reader_word
from octmargin.report.wording import millimetres, sentence, when
from octmargin.words import percent

_PATHOLOGY = {
    "positive": "positive",
    "close": "close",
    "negative": "negative",
    "not_assessed": "not assessed",
}
_STATUS = (
    ("suspicious", "Suspicious"),
    ("indeterminate", "Indeterminate"),
    ("nothing_suspicious", "Nothing suspicious within what was seen"),
    ("not_assessed", "Not assessed"),
)
_STATUS_OF: dict[Tone, str] = {
    "suspicious": "suspicious",
    "indeterminate": "indeterminate",
    "nothing_suspicious": "nothing_suspicious",
    "open": "not_assessed",
}


def margin_status(specimen: SpecimenRecord) -> Iterator[Field]:
    """Faces by what the interpreter says; by what the algorithm says where nobody interpreted."""
    findings = findings_of(specimen)
    by_status: dict[str, list[str]] = {status: [] for status, _ in _STATUS}
    silent = []
    for face in face_names(specimen):
        sweep = specimen.newest_sweep(face)
        if specimen.interpretation is None:
            # By its mark: what is provisional or in doubt is not listed as nothing suspicious.
            status = _STATUS_OF[algorithm_word(sweep).tone]
            part = _part_seen(specimen, face) if status == "nothing_suspicious" else ""
            by_status[status].append(f"{face}{part}")
        elif face in findings:
            finding = findings[face].finding
            part = _part_seen(specimen, face) if finding == "nothing_suspicious" else ""
            by_status[finding].append(f"{face}{part}")
        else:
            silent.append(face)
    for status, label in _STATUS:
        if by_status[status]:
            yield Field(label=label, value=", ".join(by_status[status]), alert=status == "suspicious")
    if silent:
        yield Field(label="Nothing stated by the interpreter", value=", ".join(silent), alert=True)


def _part_seen(specimen: SpecimenRecord, face: str) -> str:
    """How much of a face was seen, where it was not all."""
    sweep = specimen.newest_sweep(face)
    if sweep is None:
        return " (not scanned)"
    return f" ({percent(sweep.coverage)} seen)" if sweep.coverage < 1 else ""


def status_by(specimen: SpecimenRecord) -> str:
    """Who says what the margins are."""
    interpretation = specimen.interpretation
    if interpretation is None:
        return "by the algorithm alone, not interpreted"
    outdated = ", before what was scanned since" if specimen.phase in NOT_INTERPRETED else ""
    return f"by {interpretation.by.name}, {interpretation.by.role}{outdated}"


def no_disagreement(specimen: SpecimenRecord) -> str:
    """Said where no disagreement is listed."""
    if specimen.interpretation is None:
        return "Nobody has interpreted the specimen yet, so there is nothing to compare."
    return "Reader and algorithm say the same of every face that the reader has judged."


def re_excision_fields(specimen: SpecimenRecord, zone: tzinfo) -> Iterator[Field]:
    """What was taken besides, where and why."""
    for one in specimen.re_excisions:
        how = "immediate" if one.immediate else "in another operation"
        shave = f", shave {one.specimen_id}" if one.specimen_id else ""
        yield Field(
            label=one.face, value=sentence(f"{when(one.at, zone)}, {how}, by {one.by}: {one.why}{shave}")
        )


def addendum_texts(specimen: SpecimenRecord, zone: tzinfo) -> Iterator[AddendumText]:
    """What was said after signing, in its order."""
    for one in specimen.addenda:
        kind = "Correction" if one.corrects else "Addendum"
        yield AddendumText(
            title=f"{kind} {one.number}, {when(one.at, zone)}, {one.by.name}, {one.by.role}", text=one.text
        )


def pathology_rows(specimen: SpecimenRecord, zone: tzinfo) -> Iterator[PathologyRow]:
    """Results of pathology beside what was said during the operation; nothing is concluded from them here."""
    findings = findings_of(specimen)
    for one in specimen.pathology:
        distance = f"{millimetres(one.distance_mm)} from ink" if one.distance_mm is not None else ""
        reported = f"reported {when(one.reported_at, zone)}" if one.reported_at is not None else ""
        by = f"by {one.by}" if one.by else ""
        finding, sweep = findings.get(one.face), specimen.newest_sweep(one.face)
        parts = (one.entity, distance, one.text, one.accession, reported, by)
        yield PathologyRow(
            face=one.face,
            pathology=_PATHOLOGY[one.finding],
            detail=", ".join(filter(None, parts)),
            reader=reader_word(finding),
            algorithm=algorithm_word(sweep),
            missed=_missed(finding, sweep) if one.finding == "positive" else "",
        )


def _missed(finding: FaceFinding | None, sweep: SweepRecord | None) -> str:
    said = {
        "reader": finding.finding if finding is not None else "",
        "algorithm": sweep.verdict if sweep is not None else "",
    }
    cleared = [who for who, word in said.items() if word == "nothing_suspicious"]
    return (
        f"Not seen by the {' and the '.join(cleared)}: nothing suspicious was said of it." if cleared else ""
    )
