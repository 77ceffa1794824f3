"""The coding sheet of one specimen, as JSON and CSV and as a part of the report: a suggestion for a coder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, tzinfo

import msgspec
from msgspec import Struct

from octmargin import __version__
from octmargin.case.record.model import CaseSnapshot, Interpreter, SpecimenRecord
from octmargin.icd10cm import release
from octmargin.report.coding.diagnosis import DiagnosisCheck, check_diagnosis
from octmargin.report.coding.site import Payer, SiteCoding, SiteOfService
from octmargin.report.coding.suggest import Suggestion, date_of_service, shown_dates, suggest
from octmargin.report.coding.tables import CodeRow, Tables
from octmargin.report.coding.taxonomy import TaxonomyCheck, check_taxonomy
from octmargin.words import spreadsheet_text

NOTICE = (
    "A suggestion for a coder, made from the record of the case. Not a claim, not advice on billing; "
    "descriptions are paraphrases, a coder looks up the official ones."
)
SYNTHETIC_NOTICE = "SYNTHETIC spectra: no service was given, and nothing may be claimed."
_COLUMNS = ("kind", "code", "modifiers", "units", "state", "meaning", "reason", "warning", "source")


class ProviderLine(Struct, frozen=True, kw_only=True):
    """Who interpreted, with a checked taxonomy code."""

    name: str
    role: str
    taxonomy: TaxonomyCheck


class CodingSheet(Struct, frozen=True, kw_only=True):
    """Everything that a coder is shown; patients are not named in it."""

    schema: int = 1
    notice: str = NOTICE
    synthetic: bool
    case_id: str
    accession: str
    specimen_id: str
    kind: str
    laterality: str
    date_of_service: date | None
    suggestions: tuple[Suggestion, ...]
    dates: dict[str, str]
    """Effective and sunset dates by suggested code, in words."""
    diagnoses: tuple[DiagnosisCheck, ...]
    providers: tuple[ProviderLine, ...]
    others: dict[str, tuple[CodeRow, ...]]
    """By kind, all other codes of the source document: none of them is suggested, and none stands elsewhere here."""
    payers: tuple[Payer, ...]
    coverage_note: str
    sites_of_service: tuple[SiteOfService, ...]
    site_of_service: str
    conflicts: tuple[CodeRow, ...]
    """Every code to which the source document gives another meaning than the official set."""
    warnings: tuple[str, ...]
    """Of the codes that this case uses."""
    software: str
    sets: dict[str, str]
    """Which releases and dates the tables are of."""

    def to_json(self) -> bytes:
        """UTF-8, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def to_csv(self) -> str:
        """One line per code; the notice comes first. Cells that a spreadsheet would calculate are made text."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(_COLUMNS)
        for line in self._lines():
            writer.writerow([spreadsheet_text(line.get(column, "")) for column in _COLUMNS])
        return out.getvalue()

    def _lines(self) -> Iterator[dict[str, str]]:
        yield {"kind": "notice", "meaning": self.notice}
        if self.synthetic:
            yield {"kind": "notice", "meaning": SYNTHETIC_NOTICE}
        yield {
            "kind": "case",
            "code": self.case_id,
            "meaning": f"accession {self.accession or 'not available'}",
        }
        yield {
            "kind": "specimen",
            "code": self.specimen_id,
            "meaning": f"{self.kind}, {self.laterality}, {self.date_of_service or 'no date of service'}",
        }
        for one in self.suggestions:
            yield {
                "kind": "procedure",
                "code": one.code,
                "modifiers": " ".join(one.modifiers),
                "units": str(one.units),
                "state": one.state,
                "meaning": one.meaning,
                "reason": "; ".join(one.reasons),
                "warning": self.dates[one.code],
            }
        for diagnosis in self.diagnoses:
            instead = ", ".join(offered.code for offered in diagnosis.offered)
            yield {
                "kind": "diagnosis",
                "code": diagnosis.code,
                "state": diagnosis.state,
                "meaning": diagnosis.title,
                "reason": "; ".join((*diagnosis.reasons, *((f"offered: {instead}",) if instead else ()))),
                "warning": diagnosis.warning,
            }
        for provider in self.providers:
            yield {
                "kind": "provider",
                "code": provider.taxonomy.code,
                "meaning": f"{provider.taxonomy.label}: {provider.name}, {provider.role}",
                "warning": provider.taxonomy.warning,
            }
        for kind, rows in self.others.items():
            for row in rows:
                yield {"kind": f"other {kind}", "code": row.code, "state": "not suggested", "meaning": row.official,
                       "reason": row.explanation, "warning": row.warning, "source": row.source}  # fmt: skip
        for payer in self.payers:
            yield {
                "kind": "payer",
                "meaning": payer.name,
                "state": payer.shown_coverage,
                "reason": payer.policy,
            }
        for room in self.sites_of_service:
            here = "this console stands here" if room.name == self.site_of_service else ""
            yield {"kind": "site of service", "code": room.shown_code, "meaning": room.name, "state": here}


def coding_sheet(
    snapshot: CaseSnapshot,
    specimen: SpecimenRecord,
    site: SiteCoding,
    tables: Tables,
    *,
    zone: tzinfo = UTC,
) -> CodingSheet:
    """The sheet of one specimen of a case; `zone` is that of the day of service."""
    suggestions = suggest(snapshot, specimen, site, tables, zone=zone)
    diagnoses = _diagnoses(snapshot, specimen, tables)
    providers = tuple(_provider(person, tables) for person in _interpreters(specimen))
    used = {
        *(code for one in suggestions for code in (one.code, *one.modifiers)),
        *(one.code for one in diagnoses),
        *(one.taxonomy.code for one in providers),
    }
    return CodingSheet(
        synthetic=specimen.is_synthetic,
        case_id=snapshot.case_id,
        accession=snapshot.order.accession if snapshot.order is not None else "",
        specimen_id=specimen.specimen_id,
        kind=specimen.kind,
        laterality=specimen.laterality,
        date_of_service=date_of_service(specimen, zone),
        suggestions=suggestions,
        dates={
            row.code: shown_dates(row, site)
            for row in tables.procedures.rows
            if row.code in {one.code for one in suggestions}
        },
        diagnoses=diagnoses,
        providers=providers,
        others=_others(tables, used),
        payers=tuple(site.payers),
        coverage_note=site.coverage_note,
        sites_of_service=tuple(site.sites_of_service),
        site_of_service=site.site_of_service,
        conflicts=tuple(tables.conflicts),
        warnings=tuple(_warnings(snapshot, specimen, suggestions, diagnoses, providers, tables)),
        software=f"octmargin {__version__}",
        sets={table.set: f"compared {table.as_of}" for table in tables} | {"diagnoses checked in": release()},
    )


def _diagnoses(
    snapshot: CaseSnapshot, specimen: SpecimenRecord, tables: Tables
) -> tuple[DiagnosisCheck, ...]:
    # As the record has it: an order may name codes of both sides, a specimen's own codes are of the specimen.
    ordered = snapshot.order.diagnosis_codes if snapshot.order is not None else []
    codes = dict.fromkeys(specimen.diagnosis_codes or ordered)
    return tuple(check_diagnosis(code, specimen.laterality, tables) for code in codes)


def _others(tables: Tables, used: set[str]) -> dict[str, tuple[CodeRow, ...]]:
    # Of what the source document does not name, only octmargin's own procedures are among them.
    named: dict[str, Sequence[CodeRow]] = {
        "procedure": tables.procedures.rows,
        "related": [row for row in tables.related.rows if row.source],
        "diagnosis": [row for row in tables.diagnoses.rows if row.source],
        "modifier": [row for row in tables.modifiers.rows if row.source],
        "taxonomy": [row for row in tables.taxonomy.rows if row.source],
    }
    return {kind: tuple(row for row in rows if row.code not in used) for kind, rows in named.items()}


def _interpreters(specimen: SpecimenRecord) -> list[Interpreter]:
    people = [specimen.interpretation.by] if specimen.interpretation is not None else []
    if specimen.signature is not None and specimen.signature.by not in people:
        people.append(specimen.signature.by)
    return people


def _provider(person: Interpreter, tables: Tables) -> ProviderLine:
    return ProviderLine(
        name=person.name, role=person.role, taxonomy=check_taxonomy(person.taxonomy, person.role, tables)
    )


def _warnings(
    snapshot: CaseSnapshot,
    specimen: SpecimenRecord,
    suggestions: tuple[Suggestion, ...],
    diagnoses: tuple[DiagnosisCheck, ...],
    providers: tuple[ProviderLine, ...],
    tables: Tables,
) -> Iterator[str]:
    for conflict in snapshot.conflicts_about(specimen.specimen_id):
        yield conflict.text
    for one in suggestions:
        found = tables.find(one.code)
        if found is not None and found[1].warning:
            yield found[1].warning
    if not diagnoses:
        yield "no diagnosis code is recorded: a claim needs one"
    for diagnosis in diagnoses:
        yield from (f"diagnosis {diagnosis.state}: {reason}" for reason in diagnosis.reasons)
        if diagnosis.warning:
            yield diagnosis.warning
    yield from (provider.taxonomy.warning for provider in providers if provider.taxonomy.warning)
