"""From what the daemon says on the bus to what the record keeps of it, and back after a restart. No input or output."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from octmargin.bus import Description, KeyView, MapMessage, StateCounts, VerdictMessage
from octmargin.bus.decisions import Decision, Mark
from octmargin.case.record import events
from octmargin.case.record import model as kept
from octmargin.case.record.events import CaseBody
from octmargin.case.record.model import CaseSnapshot
from octmargin.stage import Stage, Swept
from octmargin.sweeps import SweepBook

BEING_SCANNED = "the sweep was begun, and its end was never told; it has no final verdict"
OTHERWISE_JUDGED = (
    "judged before the model, the calibration or the configuration was changed; scan the face anew"
)
CUT_SHORT = "the daemon ended during this sweep, and an older one does not count any more; scan the face anew"


def versions_of(description: Description) -> kept.Versions:
    """What judges, as the record names it."""
    model, calibration, console = description.model, description.calibration, description.console
    return kept.Versions(
        software=description.software_version,
        model=model.name,
        model_version=model.version,
        model_hash=model.hash,
        calibration=calibration.id,
        calibration_hash=calibration.hash,
        configuration_hash=description.configuration_hash,
        console_maker=console.maker,
        console_model=console.model,
        console_serial=console.serial,
        console_firmware=console.firmware,
        console_source=console.source,
    )


def staged(
    case: CaseSnapshot | None, stage: Stage, console: str, by: str, at: datetime
) -> Iterator[CaseBody]:
    """A specimen comes onto the stage: what the record does not know yet, the case itself included."""
    specimen = stage.specimen
    assert specimen is not None  # noqa: S101 - asked for of a specimen alone
    if case is None:
        yield events.Opened()
    known = case.specimen(stage.specimen_id) if case is not None else None
    if known is None:
        yield events.Registered(
            specimen_id=stage.specimen_id,
            specimen_kind=specimen.kind,
            laterality=specimen.laterality,
            orientation=specimen.orientation,
            label=specimen.label,
            faces=stage.faces,
        )
    else:
        statement = kept.Statement(
            source="stage",
            at=at,
            by=by,
            laterality=specimen.laterality,
            orientation=specimen.orientation,
        )
        said = {(one.laterality, one.orientation) for one in known.statements}
        is_news = (statement.laterality, statement.orientation) not in said
        # A signed report is not contradicted any more: it stands as it was signed.
        if (
            is_news
            and known.signature is None
            and (statement.laterality != "unknown" or statement.orientation)
        ):
            yield events.Stated(specimen_id=stage.specimen_id, statement=statement)
    yield events.Staged(specimen_id=stage.specimen_id, staging=staging_of(stage, console, at, is_open=True))


def staging_of(stage: Stage, console: str, at: datetime, *, is_open: bool) -> kept.Staging:
    """Where the specimen is, or was."""
    specimen = stage.specimen
    return kept.Staging(
        console=console,
        at=at,
        is_open=is_open,
        laterality=specimen.laterality if specimen is not None else "unknown",
        orientation=specimen.orientation if specimen is not None else "",
        label=specimen.label if specimen is not None else "",
        faces=stage.faces,
    )


def begun_sweep(book: SweepBook, *, at: datetime, **about: Any) -> kept.SweepRecord:
    """A sweep as it begins: nothing is known of it, and it has no verdict."""
    plan = book.plan
    return kept.SweepRecord(
        sweep=book.number,
        face=plan.face,
        started_at=at,
        verdict="indeterminate",
        provisional=True,
        coverage=0.0,
        counts=kept.StateCounts(not_scanned=plan.frames * plan.blocks),
        frames=plan.frames,
        reasons=(BEING_SCANNED,),
        width_mm=plan.width_mm,
        height_mm=plan.height_mm,
        **about,
    )


def ended_sweep(
    book: SweepBook, face_map: MapMessage, verdict: VerdictMessage, *, started_at: datetime, **about: Any
) -> kept.SweepRecord:
    """A sweep as its final verdict was said."""
    plan = book.plan
    lost = {cause.value: count for cause, count in book.lost_by_cause.items() if count}
    return kept.SweepRecord(
        sweep=book.number,
        face=plan.face,
        started_at=started_at,
        ended_at=max(verdict.acquired_at, started_at),
        verdict=verdict.verdict,
        provisional=False,
        coverage=verdict.coverage,
        visualised_depth_mm=verdict.visualised_depth_mm,
        distance_mm=verdict.distance_mm,
        clusters=verdict.clusters,
        counts=_same(verdict.counts, kept.StateCounts),
        frames=plan.frames,
        lost_frames=book.lost,
        lost_by_cause=lost,
        reasons=tuple(verdict.reasons),
        key_views=tuple(_same(view, kept.KeyView) for view in verdict.key_views),
        grid=tuple(face_map.grid),
        width_mm=plan.width_mm,
        height_mm=plan.height_mm,
        **about,
    )


def kept_decision(said: Decision, face: str, session: str) -> kept.Decision:
    """A reader's word; of a sweep of `session`."""
    return kept.Decision(face=face, session=session, **msgspec.structs.asdict(said))


def kept_mark(said: Mark, face: str, session: str) -> kept.Mark:
    """A region that a reader drew; on a sweep of `session`."""
    return kept.Mark(face=face, session=session, **msgspec.structs.asdict(said))


# -- back, after a restart ---------------------------------------------------------------------------------


def swept_of(sweep: kept.SweepRecord) -> Swept:
    """A sweep of an earlier run, as the stage knows sweeps: one that was cut short has no verdict to speak of."""
    grid = _grid(sweep)
    return Swept(
        sweep.sweep,
        sweep.face,
        len(grid),
        len(grid[0]) if grid else 0,
        key_views=len(sweep.key_views) if _stands(sweep) else None,
        is_whole=_stands(sweep) and not any("." in row for row in grid),
    )


def _stands(sweep: kept.SweepRecord) -> bool:
    """Whether its verdict is final and can be relied on."""
    return bool(sweep.grid) and not sweep.provisional and not sweep.trouble


def _grid(sweep: kept.SweepRecord) -> tuple[str, ...]:
    """Its map; of one that was begun and not heard of again, nothing but places that were not scanned."""
    if sweep.grid or not sweep.frames:
        return sweep.grid
    return ("." * (sweep.counts.not_scanned // sweep.frames),) * sweep.frames


def said_again(said: kept.Decision | kept.Mark) -> Decision | Mark:
    """What a reader said in an earlier run, as it goes on the bus."""
    content = msgspec.to_builtins(said)
    if isinstance(said, kept.Decision):
        return msgspec.convert(content, Decision)
    return msgspec.convert(content, Mark)


def newest_again(
    specimen: kept.SpecimenRecord, now: kept.Versions, **about: Any
) -> Iterator[tuple[MapMessage, VerdictMessage]]:
    """Of each face that was scanned the newest sweep, and no older one, as it goes on the bus.

    Where the newest has no final verdict, nothing is known of the face: an older sweep was followed by it. Nor where
    something else judged it than what judges `now`, under whose description it would stand.
    """
    for face in dict.fromkeys(sweep.face for sweep in specimen.sweeps):
        sweep = specimen.newest_sweep(face)
        if sweep is not None:
            why = _why_open(sweep, now)
            yield _map_again(sweep, why, **about), _verdict_again(sweep, why, **about)


def _why_open(sweep: kept.SweepRecord, now: kept.Versions) -> tuple[str, ...]:
    """Why what was said of a sweep does not stand any more; nothing where it does."""
    why = () if _stands(sweep) else (sweep.trouble or CUT_SHORT,)
    return why if _judge(sweep.versions) == _judge(now) else (*why, OTHERWISE_JUDGED)


def _judge(versions: kept.Versions) -> tuple[str, ...]:
    """What a verdict hangs on, beside the spectra."""
    return (versions.model_hash, versions.calibration_hash, versions.configuration_hash)


def _map_again(sweep: kept.SweepRecord, why: tuple[str, ...], **about: Any) -> MapMessage:
    grid, counts = _grid(sweep), _same(sweep.counts, StateCounts)
    if why:
        # Nothing is known to be unsuspicious where the verdict does not stand; what was suspicious stays so.
        grid = tuple(row.replace("N", ".") for row in grid)
        cleared = counts.nothing_suspicious
        counts = msgspec.structs.replace(
            counts, nothing_suspicious=0, not_scanned=counts.not_scanned + cleared
        )
    return MapMessage(
        acquired_at=sweep.ended_at or sweep.started_at,
        synthetic=sweep.synthetic,
        face=sweep.face,
        sweep=sweep.sweep,
        frames=len(grid),
        blocks=len(grid[0]) if grid else 0,
        grid=list(grid),
        counts=counts if grid else StateCounts(),
        **about,
    )


def _verdict_again(sweep: kept.SweepRecord, why: tuple[str, ...], **about: Any) -> VerdictMessage:
    stands = not why
    return VerdictMessage(
        acquired_at=sweep.ended_at or sweep.started_at,
        synthetic=sweep.synthetic,
        face=sweep.face,
        sweep=sweep.sweep,
        verdict=sweep.verdict if stands else "indeterminate",
        provisional=not stands,
        coverage=sweep.coverage,
        visualised_depth_mm=sweep.visualised_depth_mm,
        distance_mm=sweep.distance_mm,
        clusters=sweep.clusters,
        counts=_same(sweep.counts, StateCounts),
        reasons=list(dict.fromkeys((*why, *sweep.reasons))),
        key_views=[_same(view, KeyView) for view in sweep.key_views],
        **about,
    )


def _same(struct: msgspec.Struct, kind: Any) -> Any:
    """The same fields in the other type: those of the bus and those of the record change apart from each other."""
    return msgspec.convert(msgspec.to_builtins(struct), kind)
