"""How good a calibrated console is, as its mirrors show: resolution, dynamic range, roll-off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal._point_spread import PointSpread

_FEWEST_DEPTHS = 3
_APART_PX = 4.0
"""Mirrors closer than this are the same depth recorded again."""
_CLEAR_PEAK_DB = 20.0
_UM_PER_MM = 1000.0


@dataclass(frozen=True, kw_only=True)
class RollOff:
    """Loss of sensitivity over depth, as a straight line in dB through the peaks of a series of mirrors.

    `db_per_px`: loss per depth pixel, above 0 where deeper is weaker. `residual_db`: RMS distance of the
    peaks from the line; where it is large the loss is no straight line, or the mirror's power changed between
    recordings. `depths_px`, `peaks_db`: the peaks themselves, shallow to deep, in dB over the line's value at
    depth 0.
    """

    db_per_px: float
    residual_db: float
    depths_px: tuple[float, ...]
    peaks_db: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = (self.db_per_px, self.residual_db, *self.depths_px, *self.peaks_db)
        if len(self.depths_px) != len(self.peaks_db) or not np.isfinite(numbers).all():
            raise CalibrationError("roll-off: give finite numbers and as many peaks as depths")

    def db_per_mm(self, axial_um: float) -> float:
        """Loss in dB per mm, for depth pixels of `axial_um` µm."""
        return self.db_per_px * _UM_PER_MM / axial_um

    def curve_db(self, depth: int) -> NDArray[np.float64]:
        """Loss in dB at each of the first `depth` depth pixels, (depth,), 0 at depth 0.

        Beyond the deepest mirror it is the line drawn on, which nobody measured.
        """
        return self.db_per_px * np.arange(depth, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class MeasuredQuality:
    """What the mirrors of a calibration reach with it; the worse of the two mirrors counts.

    `axial_resolution_px`: full width of the point spread at half of its amplitude, in depth pixels.
    `dynamic_range_db`: peak over noise floor. `rolloff`: None where fewer than 3 depths were measured.
    """

    axial_resolution_px: float
    dynamic_range_db: float
    rolloff: RollOff | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.axial_resolution_px) and self.axial_resolution_px > 0):
            raise CalibrationError(
                f"quality: axial_resolution_px is {self.axial_resolution_px}; give a width above 0"
            )
        if not np.isfinite(self.dynamic_range_db):
            raise CalibrationError(f"quality: dynamic_range_db is {self.dynamic_range_db}; give finite dB")

    def axial_resolution_um(self, axial_um: float) -> float:
        """Axial resolution in µm, for depth pixels of `axial_um` µm."""
        return self.axial_resolution_px * axial_um


def quality_of(mirror1: PointSpread, mirror2: PointSpread, rolloff: RollOff | None) -> MeasuredQuality:
    """Sum up two mirrors: the wider and the one nearer to the noise count."""
    return MeasuredQuality(
        axial_resolution_px=max(mirror1.width_px, mirror2.width_px),
        dynamic_range_db=min(mirror1.dynamic_range_db, mirror2.dynamic_range_db),
        rolloff=rolloff,
    )


def rolloff_of(series: list[PointSpread]) -> RollOff | None:
    """Fit the roll-off of one mirror at several depths; None for fewer than 3 depths.

    The mirror's power must be the same in each. CalibrationError for a mirror that does not stand out from
    the noise: its peak would be noise, which does not roll off.
    """
    for number, peak in enumerate(series, start=1):
        if peak.dynamic_range_db < _CLEAR_PEAK_DB:
            raise CalibrationError(
                f"mirror series: mirror {number} of {len(series)} stands {peak.dynamic_range_db:.0f} dB over "
                f"the noise, {_CLEAR_PEAK_DB:.0f} dB are needed; leave it out or record it again"
            )
    ordered = sorted(series, key=lambda peak: peak.depth_px)
    counted_px: list[float] = []
    for peak in ordered:
        if not counted_px or peak.depth_px - counted_px[-1] >= _APART_PX:
            counted_px.append(peak.depth_px)
    if len(counted_px) < _FEWEST_DEPTHS:
        return None
    depths_px = np.array([peak.depth_px for peak in ordered])
    peaks_db = np.array([peak.peak_db for peak in ordered])
    slope, at_zero = np.polyfit(depths_px, peaks_db, 1)
    residual = peaks_db - (at_zero + slope * depths_px)
    return RollOff(
        db_per_px=float(-slope),
        residual_db=float(np.sqrt(np.mean(residual**2))),
        depths_px=tuple(depths_px.tolist()),
        peaks_db=tuple((peaks_db - at_zero).tolist()),
    )
