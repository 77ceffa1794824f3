"""The B-scans of one face as a multi-frame image of modality OCT.

Multi-frame Grayscale Word Secondary Capture: the IOD for an optical coherence tomograph that is neither for eyes nor
for vessels (ADR 19). A pixel is a level in dB, in steps of 0.01; a frame is a B-scan, depth downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from octmargin.case.record.model import SweepRecord
from octmargin.case.sweep_source import check_source, open_source
from octmargin.dicom.finishing import finish
from octmargin.dicom.subject import (
    Subject,
    acquired,
    console,
    face_text,
    orientation_text,
    remarks,
    series_text,
)
from octmargin.dicom.values import ds
from octmargin.errors import InputError
from octmargin.signal import Reconstructor
from octmargin.startup import kept_depth
from octmargin.volumes import Hole, reconstructed

SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.7.3"
STEP_DB: Final = 0.01
FLOOR_DB: Final = -100.0
"""Level of a pixel of value 0, which none has: 0 says that nothing is known."""
UNKNOWN: Final = 0
_SHOWN_DB = (0.0, 45.0)
"""Above the median of the volume, which is mostly noise: what a viewer shows at first."""
_LARGEST_BYTES = 0xFFFFFFFE
_SLICE_LOCATION_VECTOR = 0x00182005
_AXES = (
    "Rows are depth in tissue from zero delay, columns A-lines, frames B-scans; axes are those of the scan, not of the "
    "patient. Levels in dB."
)


@dataclass(frozen=True, slots=True, eq=False)
class FaceVolume:
    """What was reconstructed of one face.

    `levels` uint16 (frames, depth, alines), dB = `FLOOR_DB` + `STEP_DB` * level, 0 where nothing is known; spacings
    in mm; `lost` frames never came, `damaged` ones cannot be read any more; `noise_db` the median level.
    """

    sweep: SweepRecord
    levels: NDArray[np.uint16]
    axial_mm: float
    aline_mm: float
    frame_mm: float
    lost: tuple[int, ...]
    damaged: tuple[int, ...]
    noise_db: float


def read_volume(sweep: SweepRecord, *, depth: int | None = None) -> FaceVolume:
    """Reconstruct the recording of a sweep as it was reconstructed when it was judged.

    `depth` pixels are kept, as many as then unless given. InputError where the spectra were not kept, or are not those
    that were judged.
    """
    source = open_source(sweep)
    check_source(sweep, source)
    recording, engine = source.recording, source.then.engine
    calibration, axial_um = recording.calibration, recording.axial_um
    if calibration is None or axial_um is None:
        raise InputError(f"{recording.path}: has no calibration; restore it from a copy")
    plan = recording.plan(sweep.face)
    reconstructor = Reconstructor(
        calibration,
        samples=recording.samples,
        depth=depth or kept_depth(engine.depth, recording.samples),
        interpolation=engine.interpolation,
        # Then each engine thread had a mean of its own; that is the one thing that cannot be repeated.
        running_mean_frames=engine.running_mean_frames,
        remove_fixed_pattern=engine.remove_fixed_pattern,
    )
    levels = np.zeros((plan.frames, reconstructor.depth, plan.alines), np.uint16)
    if levels.nbytes > _LARGEST_BYTES:
        raise InputError(
            f"{recording.path}: {sweep.face} is larger than DICOM's 4 GB; keep fewer depth pixels"
        )
    holes: dict[Hole, list[int]] = {Hole.LOST: [], Hole.DAMAGED: []}
    medians_db: list[float] = []
    for index, bscan_db in enumerate(reconstructed(recording, sweep.face, reconstructor)):
        if isinstance(bscan_db, Hole):
            holes[bscan_db].append(index)
        else:
            levels[index] = quantised(bscan_db).T
            medians_db.append(float(np.median(bscan_db)))
    return FaceVolume(
        sweep=sweep,
        levels=levels,
        axial_mm=axial_um / 1000,
        aline_mm=plan.width_mm / plan.alines,
        frame_mm=plan.height_mm / plan.frames,
        lost=tuple(holes[Hole.LOST]),
        damaged=tuple(holes[Hole.DAMAGED]),
        noise_db=float(np.median(medians_db)) if medians_db else 0.0,
    )


def quantised(bscan_db: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Levels of a B-scan, of its shape; what is not finite is unknown."""
    steps = np.rint((bscan_db - FLOOR_DB) / STEP_DB)
    return np.where(np.isfinite(bscan_db), np.clip(np.nan_to_num(steps), 1, 65535), UNKNOWN).astype(np.uint16)


def volume_object(subject: Subject, volume: FaceVolume, number: int) -> Dataset:
    """The multi-frame image of a face; `number` is that of its series."""
    sweep = volume.sweep
    image = subject.header()
    image.SOPClassUID = SOP_CLASS
    image.Modality = "OCT"
    image.SeriesInstanceUID = subject.uid("volume", sweep.session, sweep.sweep, sweep.face)
    image.SeriesNumber = number
    image.InstanceNumber = 1
    image.SeriesDescription = series_text(subject, f"OCT {face_text(sweep.face)}", synthetic=sweep.synthetic)
    image.ImageComments = remarks(sweep, _comments(subject, volume))
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME"]
    # A synthetic image by DICOM's own word; else one that came over a digital interface.
    image.ConversionType = "SYN" if sweep.synthetic else "DI"
    image.BurnedInAnnotation = "NO"
    image.RecognizableVisualFeatures = "NO"
    image.PatientOrientation = ""
    acquired(image, sweep)
    console(image, sweep.versions)
    image.PixelPaddingValue = UNKNOWN
    subject.describe_specimen(image)
    _place_frames(image, subject, volume)
    _put_pixels(image, volume)
    return finish(image, subject.uids)


def frame_of_reference(subject: Subject, sweep: SweepRecord) -> str:
    """The UID of the space of one sweep: x along a frame, y across frames, -z into the depth, mm."""
    return subject.uid("space", sweep.session, sweep.sweep, sweep.face)


def _comments(subject: Subject, volume: FaceVolume) -> str:
    told = [
        f"{face_text(volume.sweep.face).capitalize()} of the {subject.name}.",
        orientation_text(subject.specimen),
        _AXES,
    ]
    for frames, what in ((volume.lost, "lost"), (volume.damaged, "damaged")):
        if frames:
            told.append(f"Frames {what} and unknown: {', '.join(str(frame + 1) for frame in frames)}.")
    return " ".join(told)


def _place_frames(image: Dataset, subject: Subject, volume: FaceVolume) -> None:
    frames = len(volume.levels)
    image.FrameOfReferenceUID = frame_of_reference(subject, volume.sweep)
    image.PositionReferenceIndicator = ""
    measures = Dataset()
    measures.PixelSpacing = [ds(volume.axial_mm), ds(volume.aline_mm)]
    measures.SliceThickness = ds(volume.frame_mm)
    measures.SpacingBetweenSlices = ds(volume.frame_mm)
    orientation = Dataset()
    orientation.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [_position(index * volume.frame_mm) for index in range(frames)]
    image.NumberOfFrames = frames
    image.FrameIncrementPointer = _SLICE_LOCATION_VECTOR
    image.SliceLocationVector = [round(index * volume.frame_mm, 6) for index in range(frames)]


def _position(y_mm: float) -> Dataset:
    position = Dataset()
    position.ImagePositionPatient = ["0", ds(y_mm), "0"]
    group = Dataset()
    group.PlanePositionSequence = [position]
    return group


def _put_pixels(image: Dataset, volume: FaceVolume) -> None:
    _, image.Rows, image.Columns = volume.levels.shape
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    image.RescaleIntercept = ds(FLOOR_DB)
    image.RescaleSlope = ds(STEP_DB)
    image.RescaleType = "US"
    bottom_db, top_db = (volume.noise_db + level for level in _SHOWN_DB)
    image.WindowCenter = ds(round((bottom_db + top_db) / 2, 1))
    image.WindowWidth = ds(top_db - bottom_db)
    image.PresentationLUTShape = "IDENTITY"
    image.add_new("PixelData", "OW", volume.levels.astype("<u2").tobytes())
