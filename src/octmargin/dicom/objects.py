"""Every object of a specimen, in an order in which each refers to earlier ones alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset

from octmargin.case.record.model import CaseSnapshot
from octmargin.case.telling import faces_of
from octmargin.dicom.encapsulated import pdf_object
from octmargin.dicom.findings import Key, findings_object
from octmargin.dicom.flag_map import map_object
from octmargin.dicom.lineage import Preceding, follow, in_their_order, none_known, states_of
from octmargin.dicom.settings import DicomSection
from octmargin.dicom.subject import Subject
from octmargin.dicom.volume import FaceVolume, read_volume, volume_object
from octmargin.errors import InputError

_SERIES_PER_SPECIMEN = 100
_MAPS, _FINDINGS, _DOCUMENT = 50, 98, 99
"""Where in a specimen's numbers of series maps begin, and findings and the report are."""


def objects_of(
    case: CaseSnapshot,
    specimen_id: str,
    settings: DicomSection,
    *,
    pdf: bytes | None = None,
    depth: int | None = None,
    preceding: Preceding = none_known,
    on_left_out: Callable[[str], object] = lambda _: None,
) -> Iterator[Dataset]:
    """Volumes and maps of the faces, the findings, and the report where there is a `pdf`.

    Findings and report name what they take the place of, as `preceding` knows it; where it knows nothing of an amended
    report's findings, those that were signed are given too.

    A face whose spectra were not kept, or are not what was judged, has no volume: `on_left_out` is told why, and the
    findings say that it is so. InputError where nothing may be told of the specimen.
    """
    subject = Subject.of(case, specimen_id, settings)
    first = _SERIES_PER_SPECIMEN * subject.number
    volumes: dict[Key, FaceVolume] = {}
    images: dict[Key, Dataset] = {}
    for place, face in enumerate(faces_of(subject.specimen)):
        sweep = subject.specimen.newest_sweep(face)
        if sweep is None:
            continue
        try:
            volume = read_volume(sweep, depth=depth)
        except InputError as error:
            on_left_out(f"{face}: no volume: {error}")
            continue
        image = volume_object(subject, volume, first + place)
        yield image
        # What refers to it needs no pixels: the volumes of six faces are not to be in memory together.
        image = _without_pixels(image)
        volume = replace(volume, levels=np.broadcast_to(np.uint16(0), volume.levels.shape))
        volumes[volume.sweep.key] = volume
        images[volume.sweep.key] = image
        if volume.sweep.grid:
            yield map_object(subject, volume, image, first + _MAPS + place)
    versions = [findings_object(one, volumes, images, first + _FINDINGS) for one in states_of(subject)]
    yield from in_their_order(versions, preceding)
    if pdf is not None:
        yield _document(subject, pdf, first + _DOCUMENT, versions[-1], preceding)


def _document(subject: Subject, pdf: bytes, number: int, findings: Dataset, preceding: Preceding) -> Dataset:
    document = pdf_object(subject, pdf, number)
    known = preceding(document.SeriesInstanceUID, document.SOPInstanceUID)
    if known is not None:
        follow(document, document.SOPClassUID, known)
    elif subject.specimen.addenda:
        # Of the pages that were signed nothing is known; what they said is in the findings.
        document.PredecessorDocumentsSequence = findings.PredecessorDocumentsSequence
    return document


def _without_pixels(image: Dataset) -> Dataset:
    bare = Dataset()
    bare.update({element.tag: element for element in image if element.keyword != "PixelData"})
    bare.file_meta = image.file_meta
    return bare
