"""The pictures of a report: maps from the record, en-face pictures and key views from the recording.

A picture is shown only where it is of what the record speaks of: the recording's log must be sound, and its frames
those of the sweep. Where it is not, the report says why there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from octmargin.assessment import FaceAssessor, Finding, draw_numbers, key_bscan_image, panel_size
from octmargin.bus.messages import STATE_LETTERS
from octmargin.case.record.model import KeyView, SpecimenRecord, SweepRecord
from octmargin.case.sweep_source import SweepSource, check_source, open_source
from octmargin.errors import InputError, OctMarginError
from octmargin.frames import ALINES_PER_BLOCK, BlockState
from octmargin.margin import Cluster
from octmargin.pictures import Caption, enface_image, map_image
from octmargin.report.document import FacePictures, Picture
from octmargin.report.wording import verdict_word
from octmargin.startup import engine_settings
from octmargin.words import counted, percent

_PANEL_PX, _NUMBER_PX = 460, 22
"""Wide and high enough for the third of a page that a face gets."""
_JPEG_QUALITY = 88
"""Speckle hardly compresses without loss: a B-scan would be a megabyte. Maps are kept without loss."""

Progress = Callable[[str, int, int], None]
"""Face, frames done, frames of the face."""


def draw_pictures(
    specimen: SpecimenRecord,
    *,
    key_views: int,
    recordings: Path | None = None,
    from_recordings: bool = True,
    threads: int = 1,
    on_progress: Progress | None = None,
) -> dict[str, FacePictures]:
    """The pictures of every face that was scanned; of each, so many key views.

    `recordings` is the folder in which they lie now, where it is not the one of the record. Without
    `from_recordings` there are only maps.
    """
    opened: dict[str, SweepSource | str] = {}
    drawn: dict[str, FacePictures] = {}
    for face in dict.fromkeys(sweep.face for sweep in specimen.sweeps):
        sweep = specimen.newest_sweep(face)
        if sweep is None:
            continue
        state = _state_of(sweep)
        found = _map_of(sweep, state)
        if state is None:
            drawn[face] = FacePictures(missing="the record has no map of this face")
            continue
        if not from_recordings:
            drawn[face] = FacePictures(map=found, missing="pictures of the tissue were not asked for")
            continue
        source = opened.get(sweep.recording) or _open(sweep, recordings)
        opened[sweep.recording] = source
        try:
            if isinstance(source, str):
                drawn[face] = FacePictures(map=found, missing=source)
                continue
            check_source(sweep, source)
            shown = sweep.key_views[:key_views]
            enface, views, missed = _draw(sweep, state, source, shown, threads, on_progress)
        except OctMarginError as error:
            drawn[face] = FacePictures(map=found, missing=str(error))
            continue
        drawn[face] = FacePictures(
            map=_map_of(sweep, state, shown), enface=enface, key_views=views, missing=missed
        )
    return drawn


def _state_of(sweep: SweepRecord) -> NDArray[np.uint8] | None:
    """(frames, blocks) of `BlockState`; None where the record has no map, or not one that can be read."""
    widths = {len(row) for row in sweep.grid}
    if len(widths) != 1 or 0 in widths or not set("".join(sweep.grid)) <= set(STATE_LETTERS):
        return None
    return np.array([[STATE_LETTERS.index(letter) for letter in row] for row in sweep.grid], np.uint8)


def _extent_mm(sweep: SweepRecord) -> tuple[float, float]:
    # A face whose extent is not known is drawn square: no ruler is on the map.
    return sweep.width_mm or 1.0, sweep.height_mm or 1.0


def _map_of(
    sweep: SweepRecord, state: NDArray[np.uint8] | None, shown: tuple[KeyView, ...] = ()
) -> Picture | None:
    if state is None:
        return None
    image = map_image(state, size=panel_size(*_extent_mm(sweep), _PANEL_PX))
    draw_numbers(
        image, (state.shape[0], state.shape[1]), [_finding(view) for view in shown], font_px=_NUMBER_PX
    )
    counts = sweep.counts
    alt = (
        f"Margin map of the {sweep.face} face: {counts.suspicious} suspicious, {counts.nothing_suspicious} nothing "
        f"suspicious, {counts.poor} poor, {counts.lost} lost and {counts.not_scanned} not scanned blocks"
    )
    return _picture(f"map-{_slug(sweep)}", image, "png", alt)


def _open(sweep: SweepRecord, folder: Path | None) -> SweepSource | str:
    """The recording of a sweep, or why it cannot be used."""
    try:
        return open_source(sweep, folder)
    except OctMarginError as error:
        return str(error)


def _draw(
    sweep: SweepRecord,
    state: NDArray[np.uint8],
    source: SweepSource,
    shown: tuple[KeyView, ...],
    threads: int,
    on_progress: Progress | None,
) -> tuple[Picture, dict[int, Picture], str]:
    """En-face picture, key views by number, and why some of these are missing."""
    recording, then = source.recording, source.then
    plan = recording.plan(sweep.face)
    if recording.calibration is None or recording.axial_um is None:
        raise InputError(f"{recording.path}: has no calibration; restore it from a copy")
    settings = engine_settings(then.judging, then.engine, plan, recording.calibration, recording.axial_um)
    assessor = FaceAssessor(recording, settings, then.judging.policy, threads=threads)
    told = None if on_progress is None else lambda done, total: on_progress(sweep.face, done, total)
    assessed = assessor.assess(sweep.face, told)
    enface = enface_image(
        assessed.enface_db, width_mm=plan.width_mm, size=panel_size(plan.width_mm, plan.height_mm, _PANEL_PX)
    )
    findings = [_finding(view) for view in shown]
    draw_numbers(enface, (plan.frames, plan.blocks), findings, font_px=_NUMBER_PX)
    caption = Caption(sweep.face, recording.synthetic)
    views: dict[int, Picture] = {}
    missed = list(_dark_frames(assessed.enface_db, state))
    for view, finding in zip(shown, findings, strict=True):
        try:
            judged = assessor.look(sweep.face, view.frame)
        except InputError as error:
            missed.append(f"key view {view.number}: {error}")
            continue
        image = key_bscan_image(
            judged,
            finding,
            suspicious=np.asarray(state[view.frame] == BlockState.SUSPICIOUS),
            axial_um=recording.axial_um,
            width_mm=plan.width_mm,
            caption=caption,
        )
        views[view.number] = _picture(
            f"key-{view.number}-{_slug(sweep)}", image, "jpeg", _alt_of_view(sweep, view)
        )
    alt = (
        f"En-face picture of the {sweep.face} face, mean of 50 to 500 µm below the surface; "
        f"{verdict_word(sweep.verdict).text}, {percent(sweep.coverage)} covered"
    )
    return _picture(f"enface-{_slug(sweep)}", enface, "jpeg", alt), views, "; ".join(missed)


def _dark_frames(enface_db: NDArray[np.float32], state: NDArray[np.uint8]) -> Iterator[str]:
    """Says which frames were judged live and cannot be shown: they must not be taken for frames that were lost."""
    judged = np.isin(state, (BlockState.NOTHING_SUSPICIOUS, BlockState.SUSPICIOUS)).any(axis=1)
    dark = int((np.isnan(enface_db).all(axis=1) & judged).sum())
    if dark:
        are = "is" if dark == 1 else "are"
        yield (
            f"{dark} of {counted(len(state), 'frame')} that were judged live {are} not in the recording, and dark "
            "in the en-face picture"
        )


def _finding(view: KeyView) -> Finding:
    """A key view as the pictures of an assessment know it."""
    return Finding(
        number=view.number,
        cluster=Cluster(
            blocks=view.blocks,
            first_frame=view.first_frame,
            last_frame=view.last_frame,
            first_block=view.first_block,
            last_block=view.last_block,
            nearest_distance_mm=view.distance_mm if view.distance_mm is not None else float("nan"),
            evidence=view.evidence,
            peak_frame=view.frame,
            peak_block=view.block,
        ),
        frame=view.frame,
        summed_evidence=view.evidence,
        probabilities=np.empty(0, np.float32),
    )


def _alt_of_view(sweep: SweepRecord, view: KeyView) -> str:
    first, last = view.first_block * ALINES_PER_BLOCK, (view.last_block + 1) * ALINES_PER_BLOCK - 1
    return (
        f"B-scan through key view {view.number} of the {sweep.face} face, frame {view.frame}: suspicious at A-lines "
        f"{first} to {last}"
    )


def _slug(sweep: SweepRecord) -> str:
    # Session and sweep alone tell it from all others; the face is for people.
    named = f"{sweep.face}-{sweep.session}-{sweep.sweep}"
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in named)


def _picture(name: str, image: Image.Image, kind: str, alt: str) -> Picture:
    data = BytesIO()
    if kind == "png":
        image.save(data, "PNG", optimize=True)
    else:
        image.save(data, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Picture(
        name=name,
        kind="png" if kind == "png" else "jpeg",
        data=data.getvalue(),
        width_px=image.width,
        height_px=image.height,
        alt=alt,
    )
