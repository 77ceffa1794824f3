"""The en-face map of one face as a Segmentation: a segment for each state of a block, in the space of its volume."""

from __future__ import annotations

from typing import Final

import numpy as np
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from octmargin.case.record.model import SweepRecord
from octmargin.dicom.codes import own
from octmargin.dicom.finishing import finish
from octmargin.dicom.subject import MAKER, Subject, acquired, face_text, series_text, software
from octmargin.dicom.values import short
from octmargin.dicom.volume import FaceVolume
from octmargin.frames import ALINES_PER_BLOCK
from octmargin.terminology import OF_LETTER

LETTERS: Final = "SNPL."
"""Segment n + 1 has the blocks of letter n."""
_CATEGORIES: Final = {
    "S": codes.SCT.MorphologicallyAbnormalStructure,
    "N": codes.SCT.Tissue,
    "P": codes.SCT.SpatialAndRelationalConcept,
    "L": codes.SCT.SpatialAndRelationalConcept,
    ".": codes.SCT.SpatialAndRelationalConcept,
}


def map_object(subject: Subject, volume: FaceVolume, image: Dataset, number: int) -> Dataset:
    """The map of a face whose volume is `image`; `number` is that of its series.

    A row is a frame, a column a block of A-lines; the record's map fits the volume (`check_source`).
    """
    sweep = volume.sweep
    segmentation = Segmentation(
        source_images=[image],
        pixel_array=_segments(sweep),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment(index, letter, sweep) for index, letter in enumerate(LETTERS, start=1)
        ],
        series_instance_uid=subject.uid("map", sweep.session, sweep.sweep, sweep.face),
        series_number=number,
        sop_instance_uid="2.25.0",
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=short("; ".join(software(sweep.versions)), 64),
        device_serial_number=short(sweep.versions.console_serial or "unknown", 64),
        content_label="MARGIN_MAP",
        content_description=short(
            f"{'SYNTHETIC ' if sweep.synthetic else ''}margin map of the {face_text(sweep.face)}", 64
        ),
        content_creator_name=f"{MAKER}^",
        series_description=series_text(
            subject, f"margin map {face_text(sweep.face)}", synthetic=sweep.synthetic
        ),
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=(volume.frame_mm, ALINES_PER_BLOCK * volume.aline_mm),
            slice_thickness=volume.axial_mm,
        ),
        plane_orientation=PlaneOrientationSequence("PATIENT", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
        plane_positions=[
            PlanePositionSequence("PATIENT", ((ALINES_PER_BLOCK - 1) / 2 * volume.aline_mm, 0.0, 0.0))
        ],
        omit_empty_frames=False,
    )
    _settle(segmentation, subject, sweep)
    return finish(segmentation, subject.uids)


def _segments(sweep: SweepRecord) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(1, frames, blocks, segments)."""
    letters = np.array([list(row) for row in sweep.grid])
    return np.stack([letters == letter for letter in LETTERS], axis=-1).astype(np.uint8)[np.newaxis]


def _segment(index: int, letter: str, sweep: SweepRecord) -> SegmentDescription:
    versions = sweep.versions
    return SegmentDescription(
        segment_number=index,
        segment_label=short(OF_LETTER[letter].display, 64),
        segmented_property_category=_CATEGORIES[letter],
        segmented_property_type=own(OF_LETTER[letter]),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=short(versions.model or MAKER, 64),
            family=codes.cid7162.ArtificialIntelligence,
            version=short(
                versions.model_version or versions.model_hash or versions.software or "unknown", 64
            ),
        ),
    )


def _settle(segmentation: Dataset, subject: Subject, sweep: SweepRecord) -> None:
    """What would be drawn at random, or said of the moment, follows from the sweep."""
    acquired(segmentation, sweep)
    subject.complete(segmentation)
    organisation = subject.uid("map dimensions", sweep.session, sweep.sweep, sweep.face)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
