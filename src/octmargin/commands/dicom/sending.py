"""`octmargin dicom send | step`: a specimen to the archives, and that its scan began or ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from octmargin.case.record.lock import user
from octmargin.case.record.model import CaseSnapshot
from octmargin.commands.attached_report import read_report
from octmargin.commands.case.common import CaseId, RecordFile, SpecimenId
from octmargin.commands.case.common import record as open_record
from octmargin.commands.dicom.common import (
    ConfigFile,
    Depth,
    ReportFile,
    load_settings,
    open_queue,
    tell_left_out,
)
from octmargin.commands.dicom.queueing import deliver_once, show
from octmargin.dicom.outgoing import Action, Destination, Outgoing
from octmargin.dicom.settings import DicomSection
from octmargin.errors import ConfigError, InputError
from octmargin.words import counted

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from octmargin.dicom.lineage import Preceding

Later = Annotated[bool, typer.Option("--later", help="Only put it into the queue.")]


class Word(StrEnum):
    """What is told of the scan."""

    STARTED = "started"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"


def send(
    config: ConfigFile,
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    report: ReportFile = None,
    depth: Depth = None,
    later: Later = False,
) -> None:
    """Put a specimen's volumes, maps, findings and report into the queue, and deliver what waits.

    Exit with 1 where anything still waits or was refused.
    """
    settings = load_settings(config)
    destinations = _archives(settings)
    from octmargin.dicom.objects import objects_of  # noqa: PLC0415 - an extra

    with open_record(record) as store:
        case = store.consult(case_id, actor=user(), what="sent as DICOM")
    pdf = read_report(report, case, specimen_id)
    outgoing = open_queue(settings)
    try:
        made = new = 0
        for one in objects_of(
            case,
            specimen_id,
            settings,
            pdf=pdf,
            depth=depth,
            preceding=outgoing.preceding,
            on_left_out=tell_left_out,
        ):
            made += 1
            taken = [_put(outgoing, destination, Action.STORE, one) for destination in destinations]
            new += any(taken)
        typer.echo(f"{specimen_id}: {counted(made, 'object')}, {new} of them new")
        is_open = _finish(settings, outgoing, later=later)
    finally:
        outgoing.close()
    if is_open and not later:
        sys.exit(1)


def step(
    config: ConfigFile,
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    word: Annotated[Word, typer.Argument(help="What is told.")],
    why: Annotated[str, typer.Option(help="Why it was discontinued.")] = "",
    depth: Depth = None,
    later: Later = False,
) -> None:
    """Tell that the scan of a specimen began, was completed or discontinued (MPPS)."""
    settings = load_settings(config)
    if settings.performed_step is None:
        raise ConfigError(f"{config}: has no [dicom.performed_step]; nobody is there to be told")
    if word is Word.DISCONTINUED and not why:
        raise InputError("discontinued: give --why")
    with open_record(record) as store:
        case = store.consult(case_id, actor=user(), what="told as a performed procedure step")
    outgoing = open_queue(settings)
    try:
        for action, dataset in _steps(case, specimen_id, word, settings, why, depth, outgoing.preceding):
            if not outgoing.knows(Destination.PERFORMED_STEP, action, dataset.SOPInstanceUID):
                _put(outgoing, Destination.PERFORMED_STEP, action, dataset)
            elif action is Action.SET:
                raise InputError(
                    f"{specimen_id}: how the step ended was told before; it cannot be told again"
                )
        is_open = _finish(settings, outgoing, later=later)
    finally:
        outgoing.close()
    if is_open and not later:
        sys.exit(1)


def _steps(
    case: CaseSnapshot,
    specimen_id: str,
    word: Word,
    settings: DicomSection,
    why: str,
    depth: int | None,
    preceding: Preceding,
) -> Iterator[tuple[Action, Dataset]]:
    """Its beginning and its end; what was told before is not told again."""
    from octmargin.dicom.objects import objects_of  # noqa: PLC0415 - an extra
    from octmargin.dicom.performed_step import Ending, beginning, ending  # noqa: PLC0415
    from octmargin.dicom.subject import Subject  # noqa: PLC0415

    subject = Subject.of(case, specimen_id, settings)
    sweeps = subject.specimen.sweeps
    began = min((sweep.started_at for sweep in sweeps), default=subject.specimen.registered_at)
    yield Action.CREATE, beginning(subject, settings.ae_title, began)
    if word is Word.STARTED:
        return
    ended = max((sweep.ended_at or sweep.started_at for sweep in sweeps), default=datetime.now(UTC))
    stored = objects_of(case, specimen_id, settings, depth=depth, preceding=preceding) if sweeps else iter(())
    how: Ending = "completed" if word is Word.COMPLETED else "discontinued"
    yield Action.SET, ending(subject, how, ended, stored, why)


def _archives(settings: DicomSection) -> list[Destination]:
    configured = {Destination.ARCHIVE: settings.archive, Destination.WEB: settings.web}
    there = [destination for destination, peer in configured.items() if peer is not None]
    if not there:
        raise ConfigError("neither dicom.archive nor dicom.web is configured; add the table of one")
    return there


def _put(outgoing: Outgoing, destination: Destination, action: Action, one: Dataset) -> bool:
    from octmargin.dicom.finishing import encoded  # noqa: PLC0415 - an extra

    uid = one.SOPInstanceUID
    if outgoing.knows(destination, action, uid):
        # The same content, perhaps written by an older octmargin: what was sent stays.
        return False
    return outgoing.put(
        destination, action, one.SOPClassUID, uid, encoded(one), one.get("SeriesInstanceUID", "")
    )


def _finish(settings: DicomSection, outgoing: Outgoing, *, later: bool) -> bool:
    if not later:
        deliver_once(settings, outgoing)
    return show(outgoing)
