"""The findings of a specimen as a Comprehensive 3D SR after TID 1500: a group for each face and each key view.

What the algorithm says, what readers say of it and what the interpreter says are evaluations of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Final

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from octmargin import __version__, terminology
from octmargin.case.record.model import KeyView, SpecimenRecord, SweepRecord
from octmargin.case.telling import at_once, faces_of, opinions, told_at
from octmargin.dicom.codes import FACES, PROCEDURE, SIDES, SITES, SPECIMEN_TYPES, own
from octmargin.dicom.encapsulated import state_text
from octmargin.dicom.finishing import finish
from octmargin.dicom.subject import MAKER, Subject, series_text
from octmargin.dicom.values import da, dt, pn, short, tm
from octmargin.dicom.volume import FaceVolume, frame_of_reference
from octmargin.frames import ALINES_PER_BLOCK
from octmargin.terminology import Term
from octmargin.words import NOTICE

SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.88.34"
_PERCENT, _MILLIMETRES, _NUMBER = codes.UCUM.Percent, codes.UCUM.Millimeter, codes.UCUM.NoUnits
_ROLES: Final = {
    "operating surgeon": codes.SCT.Surgeon,
    "radiologist": Code("66862007", "SCT", "Radiologist"),
}
Key = tuple[str, int, str]
"""Session, sweep and face: what tells a sweep from all others."""


def findings_object(
    subject: Subject, volumes: Mapping[Key, FaceVolume], images: Mapping[Key, Dataset], number: int
) -> Dataset:
    """The structured report; `images` are the objects of its `volumes`, `number` that of its series."""
    specimen = subject.specimen
    content = sr.MeasurementReport(
        observation_context=_context(subject),
        procedure_reported=PROCEDURE,
        imaging_measurements=list(_groups(subject, volumes, images)) or [_nothing_scanned(subject)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    for remark in _remarks(specimen, images):
        _say(content[0], codes.DCM.Comment, remark)
    if specimen.interpretation is not None and specimen.interpretation.text.strip():
        _say(content[0], codes.DCM.Conclusion, specimen.interpretation.text)
    for addendum in specimen.addenda:
        what = "Correction" if addendum.corrects else "Addendum"
        _say(
            content[0], codes.DCM.Comment, f"{what} {addendum.number} by {addendum.by.name}: {addendum.text}"
        )
    signature = specimen.signature
    report = sr.Comprehensive3DSR(
        # Without images there is still a patient and a study: the header stands in for them, and is no evidence.
        evidence=list(images.values()) or [_stand_in(subject)],
        content=content,
        series_instance_uid=subject.uid("findings", specimen.specimen_id),
        series_number=number,
        sop_instance_uid="2.25.0",
        instance_number=1 + len(specimen.addenda),
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=short(f"octmargin {__version__}", 64),
        is_complete=signature is not None,
        is_final=signature is not None,
        is_verified=signature is not None,
        institution_name=short(subject.institution, 64) or None,
        verifying_observer_name=pn(signature.by.name) if signature else None,
        verifying_organization=short(subject.institution, 64) or "not recorded" if signature else None,
        series_description=series_text(subject, "OCT findings", synthetic=specimen.is_synthetic),
        requested_procedures=_requested(subject),
    )
    _settle(report, subject, has_images=bool(images))
    return finish(report, subject.uids)


def _groups(
    subject: Subject, volumes: Mapping[Key, FaceVolume], images: Mapping[Key, Dataset]
) -> Iterator[sr.MeasurementsAndQualitativeEvaluations | sr.PlanarROIMeasurementsAndQualitativeEvaluations]:
    for face in faces_of(subject.specimen):
        sweep = subject.specimen.newest_sweep(face)
        if sweep is None:
            yield _group(subject, face, None, None)
            continue
        key = sweep.key
        yield _group(subject, face, sweep, images.get(key))
        if key in volumes:
            for view in sweep.key_views:
                yield _view_group(subject, volumes[key], view)


def _group(
    subject: Subject, face: str, sweep: SweepRecord | None, image: Dataset | None
) -> sr.MeasurementsAndQualitativeEvaluations:
    names = ("face", face) if sweep is None else ("face", *sweep.key)
    source = [] if image is None else [sr.SourceImageForMeasurementGroup.from_source_image(image)]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=subject.uid(*names), identifier=face),
        finding_type=own(terminology.FACE),
        algorithm_id=None if sweep is None else _algorithm(sweep),
        finding_sites=[_site(subject.specimen, face)],
        measurements=[] if sweep is None else list(_measurements(sweep)),
        qualitative_evaluations=list(_evaluations(subject.specimen, face, sweep)),
        source_images=source,
    )


def _measurements(sweep: SweepRecord) -> Iterator[sr.Measurement]:
    numbers = (
        (terminology.COVERAGE, round(100 * sweep.coverage, 2), _PERCENT),
        (terminology.VISUALISED_DEPTH, sweep.visualised_depth_mm, _MILLIMETRES),
        (terminology.DISTANCE, sweep.distance_mm, _MILLIMETRES),
        (terminology.CLUSTERS, sweep.clusters, _NUMBER),
        (terminology.LOST_FRAMES, sweep.lost_frames, _NUMBER),
    )
    for term, value, unit in numbers:
        if value is not None:
            yield sr.Measurement(name=own(term), value=value, unit=unit)


def _evaluations(
    specimen: SpecimenRecord, face: str, sweep: SweepRecord | None
) -> Iterator[sr.QualitativeEvaluation]:
    verdict = "not_assessed" if sweep is None else sweep.verdict
    yield _evaluation(terminology.VERDICT, terminology.OF_VERDICT[verdict])
    if sweep is not None:
        origin = terminology.SYNTHETIC if sweep.synthetic else terminology.MEASURED
        yield _evaluation(terminology.DATA_ORIGIN, origin)
        for decision in opinions(specimen, sweep):
            yield _evaluation(terminology.OPINION, terminology.OF_DECISION[decision.word])
    if specimen.interpretation is not None:
        for reading in specimen.interpretation.faces:
            if reading.face == face:
                yield _evaluation(terminology.READING, terminology.OF_VERDICT[reading.finding])
    if any(taken.face == face for taken in at_once(specimen)):
        yield _evaluation(terminology.ACTION, terminology.RE_EXCISION)


def _view_group(
    subject: Subject, volume: FaceVolume, view: KeyView
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    sweep = volume.sweep
    measurements = [sr.Measurement(name=own(terminology.EVIDENCE), value=100 * view.evidence, unit=_PERCENT)]
    if view.distance_mm is not None:
        measurements.append(
            sr.Measurement(name=own(terminology.DISTANCE), value=view.distance_mm, unit=_MILLIMETRES)
        )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=subject.uid("view", *sweep.key, view.number), identifier=f"{sweep.face} {view.number}"
        ),
        referenced_region=sr.ImageRegion3D(
            graphic_type=sr.GraphicTypeValues3D.POLYGON,
            graphic_data=outline_mm(volume, view),
            frame_of_reference_uid=frame_of_reference(subject, sweep),
        ),
        finding_type=own(terminology.CLUSTER),
        algorithm_id=_algorithm(sweep),
        finding_sites=[_site(subject.specimen, sweep.face)],
        measurements=measurements,
        qualitative_evaluations=[_evaluation(terminology.VERDICT, terminology.SUSPICIOUS)],
    )


def outline_mm(volume: FaceVolume, view: KeyView) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Corners of a key view's extent at zero delay, closed, (5, 3), x, y, z in mm of the volume's space."""
    alines = volume.levels.shape[2]
    left = (ALINES_PER_BLOCK * view.first_block - 0.5) * volume.aline_mm
    right = (min(ALINES_PER_BLOCK * (view.last_block + 1), alines) - 0.5) * volume.aline_mm
    top, bottom = (view.first_frame - 0.5) * volume.frame_mm, (view.last_frame + 0.5) * volume.frame_mm
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    return np.array([(x, y, 0.0) for x, y in corners])


def _nothing_scanned(subject: Subject) -> sr.MeasurementsAndQualitativeEvaluations:
    return _group(subject, subject.specimen.kind, None, None)


def _evaluation(name: Term, value: Term) -> sr.QualitativeEvaluation:
    return sr.QualitativeEvaluation(name=own(name), value=own(value))


def _algorithm(sweep: SweepRecord) -> sr.AlgorithmIdentification:
    versions = sweep.versions
    hashes = {
        "software": versions.software,
        "model": versions.model_hash,
        "calibration": versions.calibration_hash or versions.calibration,
        "configuration": versions.configuration_hash,
    }
    return sr.AlgorithmIdentification(
        name=versions.model or MAKER,
        version=versions.model_version or versions.software or "unknown",
        parameters=[f"{name} {value}" for name, value in hashes.items() if value] or None,
    )


def _site(specimen: SpecimenRecord, face: str) -> sr.FindingSite:
    return sr.FindingSite(
        anatomic_location=SITES[specimen.kind],
        laterality=SIDES.get(specimen.laterality),
        topographical_modifier=FACES.get(face),
    )


def _context(subject: Subject) -> sr.ObservationContext:
    specimen = subject.specimen
    newest = specimen.sweeps[-1].versions if specimen.sweeps else None
    observers = [
        sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=subject.uids.uid("device", newest.console_serial if newest else ""),
                name=MAKER,
                manufacturer_name=(newest.console_maker if newest else "") or None,
                model_name=(newest.console_model if newest else "") or None,
                serial_number=(newest.console_serial if newest else "") or None,
            ),
        )
    ]
    if specimen.interpretation is not None:
        by = specimen.interpretation.by
        observers.insert(
            0,
            sr.ObserverContext(
                observer_type=codes.DCM.Person,
                observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(
                    name=pn(by.name),
                    organization_name=subject.institution or None,
                    role_in_organization=_ROLES[by.role],
                ),
            ),
        )
    person, *others = observers
    return sr.ObservationContext(
        observer_person_context=person if others else None,
        observer_device_context=others[0] if others else person,
        subject_context=sr.SubjectContext(
            subject_class=codes.DCM.Specimen,
            subject_class_specific_context=sr.SubjectContextSpecimen(
                uid=subject.specimen_uid,
                identifier=specimen.specimen_id,
                container_identifier=specimen.container or specimen.specimen_id,
                specimen_type=SPECIMEN_TYPES.get(specimen.kind),
            ),
        ),
    )


def _say(container: Dataset, name: Code, text: str) -> None:
    """Add a text to the root: the template may be extended."""
    container.ContentSequence.append(
        sr.TextContentItem(name=name, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS)
    )


def _remarks(specimen: SpecimenRecord, images: Mapping[Key, Dataset]) -> Iterator[str]:
    """What has to be said with the findings."""
    synthetic = f"{terminology.SYNTHETIC.display}. " if specimen.is_synthetic else ""
    depth = "Nothing suspicious is said down to the visualised depth where a face was covered, and no more."
    yield f"{synthetic}{NOTICE} {depth} Re-excisions at once: {len(at_once(specimen))}."
    if specimen.discontinued is not None:
        yield f"The acquisition was discontinued: {specimen.discontinued.why}"
    for face in faces_of(specimen):
        sweep = specimen.newest_sweep(face)
        if sweep is None:
            continue
        if sweep.reasons:
            yield f"{face}: {'; '.join(sweep.reasons)}."
        if sweep.key not in images:
            yield f"{face}: there is no volume: its spectra were not kept, or are not those that were judged."
        if sweep.provisional:
            yield f"{face}: the sweep was cut short, and its verdict is provisional."
        if sweep.trouble:
            yield f"{face}: what is said of the sweep cannot be relied on: {sweep.trouble}"


def _stand_in(subject: Subject) -> Dataset:
    header = subject.header()
    header.SOPClassUID = SOP_CLASS
    header.SOPInstanceUID = header.SeriesInstanceUID = "2.25.0"
    return header


def _requested(subject: Subject) -> list[Dataset] | None:
    order = subject.case.order
    if order is None or not order.requested_procedure_id:
        return None
    item = Dataset()
    item.StudyInstanceUID = subject.study_uid
    item.AccessionNumber = order.accession
    item.ReferencedStudySequence = []
    item.PlacerOrderNumberImagingServiceRequest = ""
    item.FillerOrderNumberImagingServiceRequest = ""
    item.RequestedProcedureID = order.requested_procedure_id
    item.RequestedProcedureDescription = short(order.procedure, 64)
    item.RequestedProcedureCodeSequence = []
    return [item]


def _amending(signer: Dataset, specimen: SpecimenRecord) -> Iterator[Dataset]:
    """Who answers for what was added, beside who signed."""
    for addendum in specimen.addenda:
        observer = deepcopy(signer)
        observer.VerifyingObserverName = pn(addendum.by.name)
        observer.VerificationDateTime = dt(addendum.at)
        yield observer


def _settle(report: Dataset, subject: Subject, *, has_images: bool) -> None:
    """What would be drawn at random, or said of the moment, follows from the record."""
    at = told_at(subject.specimen)
    report.SeriesDate = report.ContentDate = da(at)
    report.SeriesTime = report.ContentTime = tm(at)
    subject.complete(report)
    report.CompletionFlagDescription = state_text(subject)
    if subject.specimen.signature is not None:
        (signer,) = report.VerifyingObserverSequence
        signer.VerificationDateTime = dt(subject.specimen.signature.at)
        report.VerifyingObserverSequence = [signer, *_amending(signer, subject.specimen)]
    if not has_images:
        del report.CurrentRequestedProcedureEvidenceSequence
