"""What is said of each face: by the interpreter, by the algorithm, by readers on the stage; and what nobody saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo

from octmargin.case.record.model import Decision, FaceFinding, KeyView, SpecimenRecord, SweepRecord
from octmargin.report.document import Disagreement, FacePictures, FaceSection, KeyViewFigure, Word
from octmargin.report.wording import (
    NOT_SCANNED,
    NOT_STATED,
    between,
    listed,
    millimetres,
    sentence,
    verdict_word,
    when,
)
from octmargin.words import counted, percent

KEY_VIEWS_SHOWN = 3
"""Per face: enough to see what is meant; the record has them all."""
_DECISIONS: dict[str, str] = {"agree": "agrees", "disagree": "disagrees", "unsure": "is unsure"}


def face_names(specimen: SpecimenRecord) -> list[str]:
    """The planned faces in their order, then any other of which something is said."""
    findings = specimen.interpretation.faces if specimen.interpretation is not None else ()
    others = (*(sweep.face for sweep in specimen.sweeps), *(finding.face for finding in findings))
    return list(dict.fromkeys((*specimen.faces, *others)))


def findings_of(specimen: SpecimenRecord) -> dict[str, FaceFinding]:
    """What the interpreter says, by face."""
    interpretation = specimen.interpretation
    return {finding.face: finding for finding in interpretation.faces} if interpretation is not None else {}


def face_section(
    specimen: SpecimenRecord, face: str, pictures: Mapping[str, FacePictures], zone: tzinfo
) -> FaceSection:
    """One face, with its pictures."""
    sweep, finding = specimen.newest_sweep(face), findings_of(specimen).get(face)
    drawn = pictures.get(face, FacePictures())
    key_views = sweep.key_views if sweep is not None else ()
    shown = key_views[:KEY_VIEWS_SHOWN]
    return FaceSection(
        face=face,
        reader=reader_word(finding),
        algorithm=algorithm_word(sweep),
        differs=_differs(sweep, finding),
        action=_action(specimen, face, finding),
        coverage=percent(sweep.coverage) if sweep is not None else "0%",
        depth=millimetres(sweep.visualised_depth_mm, "nothing") if sweep is not None else "nothing",
        distance=_distance(sweep),
        extent=_extent(sweep),
        not_seen=tuple(not_seen(sweep)),
        reasons=sweep.reasons if sweep is not None else (),
        remarks=tuple(_remarks(specimen, face, sweep, zone)),
        map=drawn.map,
        enface=drawn.enface,
        no_pictures=_of_pictures(drawn) if sweep is not None else "",
        key_views=tuple(_figure(view, sweep, drawn) for view in shown if sweep is not None),
        more_key_views=_more(key_views[KEY_VIEWS_SHOWN:]),
    )


def _action(specimen: SpecimenRecord, face: str, finding: FaceFinding | None) -> str:
    """What the interpreter says was done, and the re-excisions that the record has."""
    taken = [
        f"re-excised{f', shave {one.specimen_id}' if one.specimen_id else ''}"
        for one in specimen.re_excisions
        if one.face == face
    ]
    return "; ".join(filter(None, dict.fromkeys((finding.action if finding is not None else "", *taken))))


def not_seen(sweep: SweepRecord | None) -> Iterator[str]:
    """What of a face was not seen, in words; there is always something, for no scan sees through the tissue."""
    if sweep is None:
        yield "the whole face: it was not scanned"
        return
    if sweep.trouble:
        yield f"what is said of it cannot be relied on: {sweep.trouble}"
    if sweep.provisional:
        yield "the sweep was cut short; no final verdict is known"
    missing = 1 - sweep.coverage
    counts = sweep.counts
    causes = [
        f"{number} {word}"
        for number, word in (
            (counts.not_scanned, "not scanned"),
            (counts.lost, "lost"),
            (counts.poor, "poor"),
        )
        if number
    ]
    if causes or missing > 0:
        of_blocks = f" ({listed(causes)} of {_total(sweep)} blocks)" if causes else ""
        # Rounded up, as the share that was seen is rounded down.
        yield f"{_percent_up(missing)} of the planned surface{of_blocks}"
    if sweep.lost_frames:
        lost_by = "; ".join(f"{number} {cause}" for cause, number in sweep.lost_by_cause.items())
        yield f"{sweep.lost_frames} of {sweep.frames} frames were lost{f' ({lost_by})' if lost_by else ''}"
    if sweep.visualised_depth_mm is None:
        yield "any depth: nothing was visualised"
    else:
        yield f"what lies deeper than {millimetres(sweep.visualised_depth_mm)}"


def disagreements(specimen: SpecimenRecord) -> Iterator[Disagreement]:
    """Where reader and algorithm differ: the interpreter by face, then readers on the stage, newest word each."""
    interpretation = specimen.interpretation
    for face, finding in findings_of(specimen).items():
        sweep = specimen.newest_sweep(face)
        if _differs(sweep, finding) and interpretation is not None:
            yield Disagreement(
                face=face,
                algorithm=algorithm_word(sweep),
                reader=reader_word(finding),
                by=f"{interpretation.by.name}, {interpretation.by.role}",
                note=finding.action,
            )
    for decision in newest_decisions(specimen.decisions):
        if decision.word == "agree":
            continue
        judged = _sweep_of(specimen, decision)
        yield Disagreement(
            face=f"{decision.face}{_subject(decision)}",
            algorithm=Word(text="suspicious", tone="suspicious")
            if decision.subject == "cluster"
            else algorithm_word(judged),
            reader=Word(text=_DECISIONS[decision.word], tone="open"),
            by=f"{decision.by}, {decision.role}, at the display{_of_earlier(specimen, decision)}",
            note=decision.note,
        )


def newest_decisions(decisions: Sequence[Decision]) -> list[Decision]:
    """The newest word of each person on each subject, in the order of time."""
    newest: dict[tuple[str, str, str, int, int | None], Decision] = {}
    for decision in sorted(decisions, key=lambda one: one.at):
        subject = (decision.by, decision.face, decision.session, decision.sweep, decision.cluster)
        newest.pop(subject, None)
        newest[subject] = decision
    return list(newest.values())


def reader_word(finding: FaceFinding | None) -> Word:
    """What the interpreter says of a face."""
    return verdict_word(finding.finding) if finding is not None else NOT_STATED


def algorithm_word(sweep: SweepRecord | None) -> Word:
    """What the algorithm says of a face."""
    if sweep is None:
        return NOT_SCANNED
    word = verdict_word(sweep.verdict)
    doubts = [
        text
        for text, holds in (("provisional", sweep.provisional), ("not to be relied on", sweep.trouble))
        if holds
    ]
    # What may yet change, or cannot be relied on, is never marked as if nothing suspicious were there.
    tone = "indeterminate" if doubts and word.tone == "nothing_suspicious" else word.tone
    return Word(text=", ".join((word.text, *doubts)), tone=tone)


def _distance(sweep: SweepRecord | None) -> str:
    if sweep is None:
        return "not known"
    return millimetres(sweep.distance_mm, "not known" if sweep.counts.suspicious else "none found")


def _extent(sweep: SweepRecord | None) -> str:
    if sweep is None or sweep.width_mm is None or sweep.height_mm is None:
        return "extent not recorded"
    return f"{sweep.width_mm:g} × {sweep.height_mm:g} mm"


def _differs(sweep: SweepRecord | None, finding: FaceFinding | None) -> bool:
    if finding is None:
        return False
    if sweep is None:
        return finding.finding != "not_assessed"
    return finding.finding != sweep.verdict


def _total(sweep: SweepRecord) -> int:
    counts = sweep.counts
    return counts.not_scanned + counts.lost + counts.poor + counts.nothing_suspicious + counts.suspicious


def _percent_up(share: float) -> str:
    return f"{-(-round(share * 1e6) // 1000) / 10:g}%"


def _remarks(specimen: SpecimenRecord, face: str, sweep: SweepRecord | None, zone: tzinfo) -> Iterator[str]:
    if sweep is not None:
        scanned = between(sweep.started_at, sweep.ended_at, zone)
        yield f"Scanned {scanned}, sweep {sweep.sweep} of session {sweep.session}."
    for earlier in specimen.sweeps:
        if earlier.face == face and earlier is not sweep:
            word = algorithm_word(earlier).text
            yield (
                f"An earlier sweep ({earlier.sweep}, {when(earlier.started_at, zone)}) was {word}, coverage "
                f"{percent(earlier.coverage)}; the newest counts."
            )
    for decision in newest_decisions(specimen.decisions):
        if decision.face == face:
            note = f": {decision.note}" if decision.note else ""
            yield sentence(
                f"{decision.role} {decision.by} {_DECISIONS[decision.word]}{_subject(decision)}, at the display"
                f"{_of_earlier(specimen, decision)}{note}"
            )
    for mark in specimen.marks:
        if mark.face == face:
            place = f"frames {mark.first_frame} to {mark.last_frame}, blocks {mark.first_block} to {mark.last_block}"
            yield sentence(f"{mark.role} {mark.by} marked {place}{f': {mark.note}' if mark.note else ''}")


def _subject(decision: Decision) -> str:
    return f" (key view {decision.cluster})" if decision.subject == "cluster" else ""


def _sweep_of(specimen: SpecimenRecord, decision: Decision) -> SweepRecord | None:
    of_face = (sweep for sweep in specimen.sweeps if sweep.face == decision.face)
    return next(
        (one for one in of_face if (one.session, one.sweep) == (decision.session, decision.sweep)), None
    )


def _of_earlier(specimen: SpecimenRecord, decision: Decision) -> str:
    newest = specimen.newest_sweep(decision.face)
    is_newest = newest is not None and (newest.session, newest.sweep) == (decision.session, decision.sweep)
    return "" if is_newest else f", of sweep {decision.sweep}, not the newest"


def _of_pictures(drawn: FacePictures) -> str:
    if not drawn.missing:
        return ""
    return f"{'No picture' if drawn.enface is None else 'Pictures'} of the tissue: {drawn.missing}."


def _figure(view: KeyView, sweep: SweepRecord, drawn: FacePictures) -> KeyViewFigure:
    blocks = counted(view.blocks, "suspicious block")
    nearest = (
        "" if view.distance_mm is None else f", nearest {millimetres(view.distance_mm)} below the surface"
    )
    at = ""
    if sweep.height_mm is not None and sweep.frames:
        at = f" at {(view.frame + 0.5) * sweep.height_mm / sweep.frames:.1f} mm"
    return KeyViewFigure(
        title=sentence(f"{sweep.face}, key view {view.number}: {blocks}{nearest}"),
        detail=f"Frame {view.frame}{at}, evidence up to {view.evidence:.2f}",
        picture=drawn.key_views.get(view.number),
    )


def _more(rest: Sequence[KeyView]) -> str:
    if not rest:
        return ""
    are = "is" if len(rest) == 1 else "are"
    return f"{counted(len(rest), 'more key view')}, less suspicious, {are} in the record and not shown."
