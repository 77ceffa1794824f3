"""Modality performed procedure steps (MPPS): that the scan of a specimen began, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian

from octmargin.dicom.codes import PROCEDURE
from octmargin.dicom.subject import Subject
from octmargin.dicom.values import code_item, da, exactly, short, tm
from octmargin.errors import InputError

SOP_CLASS: Final = "1.2.840.10008.3.1.2.3.3"
Ending = Literal["completed", "discontinued"]


def step_uid(subject: Subject) -> str:
    """The UID of the step that scans the specimen."""
    return subject.uid("step", subject.specimen.specimen_id)


def beginning(subject: Subject, station: str, at: datetime) -> Dataset:
    """The step in progress, for N-CREATE; `station` is this application's title."""
    step = subject.header(has_side=False)
    for keyword in ("StudyDate", "StudyTime", "StudyInstanceUID", "AccessionNumber", "StudyDescription"):
        delattr(step, keyword)
    for keyword in ("InstitutionName", "RequestAttributesSequence", "ReferringPhysicianName"):
        if keyword in step:
            delattr(step, keyword)
    step.ScheduledStepAttributesSequence = [_scheduled(subject)]
    step.ReferencedPatientSequence = []
    step.PerformedProcedureStepID = exactly(f"OCT{subject.number}", 16, "step id")
    step.PerformedStationAETitle = station
    step.PerformedStationName = ""
    step.PerformedLocation = ""
    step.PerformedProcedureStepStartDate = da(at)
    step.PerformedProcedureStepStartTime = tm(at)
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedProcedureStepDescription = short(f"OCT of the {subject.name}", 64)
    step.PerformedProcedureTypeDescription = ""
    step.ProcedureCodeSequence = [code_item(PROCEDURE)]
    step.PerformedProcedureStepEndDate = ""
    step.PerformedProcedureStepEndTime = ""
    step.Modality = "OCT"
    step.PerformedProtocolCodeSequence = []
    step.PerformedSeriesSequence = []
    return _as_file(step, step_uid(subject))


def ending(subject: Subject, how: Ending, at: datetime, stored: Iterable[Dataset], why: str = "") -> Dataset:
    """The end of the step, for N-SET, with the series of the objects that are `stored`.

    InputError where a completed step has none: DICOM asks for one at least.
    """
    step = Dataset()
    step.SpecificCharacterSet = "ISO_IR 192"
    step.PerformedProcedureStepStatus = how.upper()
    step.PerformedProcedureStepEndDate = da(at)
    step.PerformedProcedureStepEndTime = tm(at)
    series = _series(stored)
    if how == "completed" and not series:
        raise InputError(
            f"a completed step needs an object at least, and there is none of {subject.specimen.specimen_id}; "
            "discontinue it, or make its objects first"
        )
    step.PerformedSeriesSequence = series
    if how == "discontinued":
        reason = code_item(codes.DCM.DiscontinuedForUnspecifiedReason)
        step.PerformedProcedureStepDiscontinuationReasonCodeSequence = [reason]
        step.CommentsOnThePerformedProcedureStep = why
    return _as_file(step, step_uid(subject))


def _scheduled(subject: Subject) -> Dataset:
    order = subject.case.order
    item = Dataset()
    item.StudyInstanceUID = subject.study_uid
    item.ReferencedStudySequence = []
    item.AccessionNumber = exactly(order.accession, 16, "accession number") if order else ""
    item.RequestedProcedureID = (
        exactly(order.requested_procedure_id, 16, "requested procedure id") if order else ""
    )
    item.RequestedProcedureDescription = short(order.procedure, 64) if order else ""
    item.ScheduledProcedureStepID = exactly(order.scheduled_step_id, 16, "scheduled step id") if order else ""
    item.ScheduledProcedureStepDescription = ""
    item.ScheduledProtocolCodeSequence = []
    return item


def _series(stored: Iterable[Dataset]) -> list[Dataset]:
    by_uid: dict[str, Dataset] = {}
    for instance in stored:
        series = by_uid.get(instance.SeriesInstanceUID)
        if series is None:
            series = by_uid[instance.SeriesInstanceUID] = Dataset()
            series.PerformingPhysicianName = ""
            series.ProtocolName = "OCT margin assessment"
            series.OperatorsName = ""
            series.SeriesInstanceUID = instance.SeriesInstanceUID
            series.SeriesDescription = instance.get("SeriesDescription", "")
            series.RetrieveAETitle = ""
            series.ReferencedImageSequence = []
            series.ReferencedNonImageCompositeSOPInstanceSequence = []
        reference = Dataset()
        reference.ReferencedSOPClassUID = instance.SOPClassUID
        reference.ReferencedSOPInstanceUID = instance.SOPInstanceUID
        place = (
            "ReferencedImageSequence"
            if "Rows" in instance
            else "ReferencedNonImageCompositeSOPInstanceSequence"
        )
        series[place].value.append(reference)
    return list(by_uid.values())


def _as_file(step: Dataset, uid: str) -> Dataset:
    """As the queue keeps it; the command, not its data, has class and UID."""
    step.SOPClassUID = SOP_CLASS
    step.SOPInstanceUID = uid
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(SOP_CLASS)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    step.file_meta = meta
    step.preamble = b"\0" * 128
    return step
