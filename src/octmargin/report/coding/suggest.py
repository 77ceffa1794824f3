"""Which procedure codes the record of a specimen supports, and why: for a coder to judge, never a claim.

Known are what was acquired, what was covered, whether it was given up, and whether it was interpreted and signed. What
the record cannot know is not suggested: modifier 22 never, other procedures never.
"""

from __future__ import annotations

from datetime import UTC, date, tzinfo
from typing import Literal

from msgspec import Struct

from octmargin.case.record.model import CasePhase, CaseSnapshot, SpecimenPhase, SpecimenRecord
from octmargin.report.coding.site import NOT_AVAILABLE, CodeDates, SiteCoding
from octmargin.report.coding.tables import ProcedureRow, Service, Subject, Tables
from octmargin.words import counted, percent

REDUCED, DISCONTINUED = "52", "53"
UNITS_PER_SPECIMEN = 1

NOT_INTERPRETED = (SpecimenPhase.REGISTERED, SpecimenPhase.SCANNED, SpecimenPhase.DISCONTINUED)
"""Where an interpretation that is there is older than what it would be about."""

State = Literal["suggested", "not yet", "not suggested", "example"]
"""`example`: the spectra are synthetic; it shows what would be suggested, and nothing may be claimed."""


class Suggestion(Struct, frozen=True, kw_only=True):
    """One code for one specimen, and why; `units` is 0 where it is not suggested."""

    code: str
    meaning: str
    """In words of our own, or the site's licensed descriptor."""
    state: State
    units: int
    modifiers: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def suggest(
    snapshot: CaseSnapshot,
    specimen: SpecimenRecord,
    site: SiteCoding,
    tables: Tables,
    *,
    zone: tzinfo = UTC,
) -> tuple[Suggestion, ...]:
    """Acquisition, then interpretation and report, of one specimen; `zone` is that of the day of service."""
    day = date_of_service(specimen, zone)
    acquisition = tables.procedures.row_of(Service.ACQUISITION, Subject.SPECIMEN)
    interpretation = tables.procedures.row_of(Service.INTERPRETATION, Subject.SPECIMEN)
    return (
        _settled(acquisition, _acquired(snapshot, specimen, site), specimen, site, day),
        _settled(interpretation, _interpreted(snapshot, specimen), specimen, site, day),
    )


class _Found(Struct, frozen=True):
    state: Literal["suggested", "not yet", "not suggested"]
    reasons: tuple[str, ...]
    modifiers: tuple[str, ...] = ()


def uncovered_faces(specimen: SpecimenRecord, full_coverage: float) -> list[str]:
    """The planned faces that were not covered, each with the reason."""
    said = []
    for face in specimen.faces:
        sweep = specimen.newest_sweep(face)
        if sweep is None:
            said.append(f"{face}: not scanned")
        elif sweep.provisional:
            said.append(f"{face}: the sweep was cut short")
        elif sweep.coverage < full_coverage:
            said.append(f"{face}: {percent(sweep.coverage)} covered")
    return said


def _acquired(snapshot: CaseSnapshot, specimen: SpecimenRecord, site: SiteCoding) -> _Found:
    if (nothing := _nothing_done(specimen)) is not None:
        return nothing
    if specimen.discontinued is not None:
        why = specimen.discontinued.why or "no reason was given"
        return _Found("suggested", (f"modifier 53: begun, then discontinued: {why}",), (DISCONTINUED,))
    scanned = sum(specimen.newest_sweep(face) is not None for face in specimen.faces)
    reasons = [
        f"{counted(len(specimen.sweeps), 'sweep')}, {scanned} of {len(specimen.faces)} planned faces scanned"
    ]
    uncovered = uncovered_faces(specimen, site.full_coverage)
    if not uncovered:
        return _Found("suggested", tuple(reasons))
    shortfall = f"not every planned face was covered to {percent(site.full_coverage)}: {'; '.join(uncovered)}"
    if _is_settled(snapshot, specimen):
        return _Found("suggested", (*reasons, f"modifier 52: {shortfall}"), (REDUCED,))
    return _Found(
        "not yet", (*reasons, f"the specimen is not closed; modifier 52 would follow, as {shortfall}")
    )


def _interpreted(snapshot: CaseSnapshot, specimen: SpecimenRecord) -> _Found:
    if (nothing := _nothing_done(specimen)) is not None:
        return nothing
    interpretation, signature = specimen.interpretation, specimen.signature
    if signature is not None:
        mode = f", {interpretation.mode}" if interpretation is not None else ""
        by = f"{signature.by.name} ({signature.by.role})"
        return _Found("suggested", (f"one report for the specimen, signed by {by}{mode}",))
    if snapshot.phase is CasePhase.CONFIRM:
        return _Found("not yet", ("laterality or orientation must be confirmed before anything is signed",))
    if interpretation is None:
        return _Found("not yet", ("not interpreted",))
    if specimen.phase in NOT_INTERPRETED:
        return _Found("not yet", ("a sweep is newer than the interpretation",))
    return _Found("not yet", (f"the interpretation is {interpretation.state} and not signed",))


def _nothing_done(specimen: SpecimenRecord) -> _Found | None:
    if specimen.phase is SpecimenPhase.WITHDRAWN:
        return _Found("not suggested", (f"the specimen was withdrawn: {specimen.withdrawn_why}",))
    if not specimen.sweeps:
        why = f", given up before it began: {specimen.discontinued.why}" if specimen.discontinued else ""
        return _Found("not suggested", (f"nothing was acquired{why}",))
    return None


def _is_settled(snapshot: CaseSnapshot, specimen: SpecimenRecord) -> bool:
    return snapshot.phase is CasePhase.CLOSED or specimen.signature is not None


def _settled(
    row: ProcedureRow, found: _Found, specimen: SpecimenRecord, site: SiteCoding, day: date | None
) -> Suggestion:
    """What was found, held against the code's dates and against spectra that were never measured."""
    state: State = found.state
    reasons = list(found.reasons)
    if state == "suggested":
        if (invalid := _invalid_on(row, day, site)) is not None:
            state = "not suggested"
            reasons.insert(0, invalid)
        elif specimen.is_synthetic:
            state = "example"
            reasons.insert(0, "SYNTHETIC spectra: no service was given, and nothing may be claimed")
    return Suggestion(
        code=row.code,
        meaning=site.descriptors.get(row.code, row.official),
        state=state,
        units=UNITS_PER_SPECIMEN if state in ("suggested", "example") else 0,
        modifiers=found.modifiers if state in ("suggested", "example") else (),
        reasons=tuple(reasons),
    )


def date_of_service(specimen: SpecimenRecord, zone: tzinfo) -> date | None:
    """The day of the first sweep, as the site counts days; None where there was none."""
    first = min((sweep.started_at for sweep in specimen.sweeps), default=None)
    return first.astimezone(zone).date() if first is not None else None


def dates_of(row: ProcedureRow, site: SiteCoding) -> CodeDates:
    """A code's dates: the site's where it gives any, else those of the table."""
    return site.dates.get(row.code) or CodeDates(effective=row.effective, sunset=row.sunset)


def shown_dates(row: ProcedureRow, site: SiteCoding) -> str:
    """A code's dates in words, and where they come from."""
    dates = dates_of(row, site)
    by = "the site's" if row.code in site.dates else "from memory; a coder checks them"
    effective, sunset = (str(day) if day else NOT_AVAILABLE for day in (dates.effective, dates.sunset))
    return f"effective {effective}, sunset {sunset} ({by})"


def _invalid_on(row: ProcedureRow, day: date | None, site: SiteCoding) -> str | None:
    # Dates from memory warn; only those that a site has entered refuse.
    dates = site.dates.get(row.code)
    if dates is None or day is None:
        return None
    if dates.effective is not None and day < dates.effective:
        return f"{row.code} is valid from {dates.effective} on; the service was given on {day}"
    if dates.sunset is not None and day > dates.sunset:
        return f"{row.code} was valid up to {dates.sunset}; the service was given on {day}"
    return None
