"""One B-scan in, one flag per block out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import ConfigError, InputError
from octmargin.frames import ALINES_PER_BLOCK, BlockQuality
from octmargin.margin import _block_kernels
from octmargin.margin.flags import BlockFlags
from octmargin.margin.model import FrameView, MarginModel, Profile
from octmargin.margin.quality import QualityParameters
from octmargin.margin.registry import load_model
from octmargin.signal import find_surface, noise_floor_db

DEFAULT_MODEL = "margin-1"
_BRIGHTNESS_TO_UM = 150.0
_LEAST_USED_SHARE = 0.5
"""Of the A-lines of a whole block, also where the frame ends within it."""


class Assessor:
    """Judges the blocks of B-scans with a margin model (docs/assessment.md).

    `model` is a name that `load_model` knows, or a model; `suspicious_at` the suspicion from which a block is
    suspicious, the model's own unless given; `rolloff_db_per_mm`, the console's fall of sensitivity with depth in
    tissue, is not read as attenuation. Holds work buffers, so one object serves one thread at a time. Raises
    ConfigError for a model that does not exist and for numbers that make no sense.
    """

    def __init__(
        self,
        model: str | MarginModel = DEFAULT_MODEL,
        *,
        suspicious_at: float | None = None,
        quality: QualityParameters | None = None,
        rolloff_db_per_mm: float = 0.0,
    ) -> None:
        self.model = load_model(model) if isinstance(model, str) else model
        self.classes = self.model.classes
        self.suspicious_at = self.model.suspicious_at if suspicious_at is None else suspicious_at
        if not 0 < self.suspicious_at < 1:
            raise ConfigError(f"suspicious_at is {self.suspicious_at}; give a suspicion between 0 and 1")
        self.quality = quality or QualityParameters()
        if not (np.isfinite(rolloff_db_per_mm) and rolloff_db_per_mm >= 0):
            raise ConfigError(
                f"rolloff_db_per_mm is {rolloff_db_per_mm}; give the fall of sensitivity in dB per mm, at least 0"
            )
        self._rolloff_per_mm = rolloff_db_per_mm * np.log(10.0) / 10.0
        self._intensity = np.empty((0, 0), dtype=np.float32)
        self._profile = np.empty((0, 0), dtype=np.float32)

    def assess(
        self,
        bscan_db: NDArray[Any],
        *,
        axial_um: float,
        aline_um: float | None = None,
        intensity: NDArray[np.float32] | None = None,
        saturated: ArrayLike | None = None,
    ) -> BlockFlags:
        """Flag the blocks of one B-scan.

        `bscan_db` (alines, depth) float, dB; `axial_um` the depth pixel in tissue; `aline_um` the distance of
        A-lines, None where it is not known; `intensity` the same linearly, float32, derived from the dB unless
        given; `saturated` (alines,) bool. Raises InputError for shapes and distances that do not fit.
        """
        if aline_um is not None and not (np.isfinite(aline_um) and aline_um > 0):
            raise InputError(f"aline_um is {aline_um}; give the distance of A-lines in µm, or None")
        noise_db = noise_floor_db(bscan_db, axial_um=axial_um)
        bscan_db = _as_kernel_input(bscan_db)
        surface_px = find_surface(bscan_db, axial_um=axial_um, noise_db=noise_db)
        linear = _as_kernel_input(self._linear(bscan_db, intensity))
        clipped = _checked_saturated(saturated, len(bscan_db))
        noise = 10.0 ** (noise_db / 10.0) if np.isfinite(noise_db) else np.inf
        usable = np.isfinite(surface_px) & ~clipped

        averaged, averaged_px = self._average(linear, surface_px, usable, axial_um)
        profile = self._binned(averaged, averaged_px, noise, axial_um)
        judged = self.model.judge(
            FrameView(
                bscan_db, linear, surface_px, usable, noise, axial_um, aline_um, ALINES_PER_BLOCK, profile
            )
        )
        seen = profile.bins_seen
        seen_mm = np.where(seen > 0, profile.first_mm + seen * profile.bin_mm, 0.0)
        # What the model does not judge was not seen, however far the light came.
        seen_mm = np.minimum(seen_mm, self.model.judged_mm)
        brightness_db = self._brightness_db(averaged, averaged_px, noise, axial_um)
        quality, median_px = self._quality(surface_px, clipped, brightness_db, seen_mm)
        quality[_used_share(usable, len(quality)) < _LEAST_USED_SHARE] |= np.uint8(BlockQuality.NO_SURFACE)
        quality[judged.unfamiliar] |= np.uint8(BlockQuality.UNFAMILIAR)
        suspicious = (judged.suspicion >= self.suspicious_at) & (quality == BlockQuality.OK)
        enface_db = np.empty(len(bscan_db), dtype=np.float32)
        _block_kernels.project_enface(
            bscan_db,
            surface_px,
            round(_block_kernels.ENFACE_FROM_UM / axial_um),
            round(_block_kernels.ENFACE_TO_UM / axial_um),
            enface_db,
        )
        return BlockFlags(
            suspicion=judged.suspicion,
            probabilities=judged.probabilities,
            suspicious=suspicious,
            distance_mm=np.where(suspicious, judged.distance_mm, np.float32(np.nan)),
            feature_mm=judged.distance_mm,
            visualised_depth_mm=seen_mm.astype(np.float32),
            quality=quality,
            surface_mm=median_px * np.float32(axial_um / 1000.0),
            attenuation_per_mm=judged.attenuation_per_mm,
            brightness_db=brightness_db.astype(np.float32),
            surface_px=surface_px,
            enface_db=enface_db,
            context=judged.context,
            why_unfamiliar=judged.why_unfamiliar,
        )

    def _linear(
        self, bscan_db: NDArray[np.float32], intensity: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        if intensity is not None:
            if intensity.shape != bscan_db.shape:
                raise InputError(
                    f"intensity: expected shape {bscan_db.shape} as the B-scan, got {intensity.shape}"
                )
            return intensity
        if self._intensity.shape != bscan_db.shape:
            self._intensity = np.empty(bscan_db.shape, dtype=np.float32)
        np.multiply(bscan_db, np.float32(np.log(10.0) / 10.0), out=self._intensity)
        return np.exp(self._intensity, out=self._intensity)

    def _average(
        self,
        linear: NDArray[np.float32],
        surface_px: NDArray[np.float32],
        usable: NDArray[np.bool_],
        axial_um: float,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        # Nothing reads a profile below the assessed depth, and a frame is deeper than that.
        wanted_um = max(self.quality.assessed_depth_um, self.quality.specular_um, _BRIGHTNESS_TO_UM)
        wanted_px = round((wanted_um + self.quality.bin_um) / axial_um) + 2
        shape = (-(-len(linear) // ALINES_PER_BLOCK), min(linear.shape[1], wanted_px))
        if self._profile.shape != shape:
            self._profile = np.empty(shape, dtype=np.float32)
        profile_px = np.empty(shape[0], dtype=np.int64)
        _block_kernels.average_blocks(linear, surface_px, usable, ALINES_PER_BLOCK, self._profile, profile_px)
        return self._profile, profile_px

    def _binned(
        self, averaged: NDArray[np.float32], averaged_px: NDArray[np.int64], noise: float, axial_um: float
    ) -> Profile:
        q = self.quality
        bin_px, first_px = max(1, round(q.bin_um / axial_um)), round(q.specular_um / axial_um)
        bin_mm, first_mm = bin_px * axial_um / 1000.0, first_px * axial_um / 1000.0
        bins = max(1, int((q.assessed_depth_um / 1000.0 - first_mm) / bin_mm))
        log_bins = np.empty((len(averaged), bins))
        bins_seen = np.empty(len(averaged), dtype=np.int64)
        _block_kernels.bin_profiles(
            averaged,
            averaged_px,
            noise,
            noise * 10.0 ** (q.cut_over_noise_db / 10.0),
            bin_px,
            first_px,
            self._rolloff_per_mm * bin_mm,
            log_bins,
            bins_seen,
        )
        return Profile(log_bins, bins_seen, first_mm, bin_mm)

    def _brightness_db(
        self, averaged: NDArray[np.float32], averaged_px: NDArray[np.int64], noise: float, axial_um: float
    ) -> NDArray[np.floating[Any]]:
        first_px, to_px = (round(um / axial_um) for um in (self.quality.specular_um, _BRIGHTNESS_TO_UM))
        with np.errstate(divide="ignore", invalid="ignore"):
            below = averaged[:, first_px : max(to_px, first_px + 1)].mean(axis=1)
            brightness_db: NDArray[np.floating[Any]] = 10.0 * np.log10(below / noise)
        brightness_db[averaged_px == 0] = np.nan
        return brightness_db

    def _quality(
        self,
        surface_px: NDArray[np.float32],
        clipped: NDArray[np.bool_],
        brightness_db: NDArray[np.floating[Any]],
        seen_mm: NDArray[np.float64],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Quality bits and median surface in pixels, both (blocks,)."""
        q = self.quality
        missing_share, clipped_share = np.empty(len(seen_mm)), np.empty(len(seen_mm))
        median_px = np.empty(len(seen_mm), dtype=np.float32)
        _block_kernels.summarise_blocks(
            surface_px, clipped, ALINES_PER_BLOCK, missing_share, clipped_share, median_px
        )
        quality = np.zeros(len(seen_mm), dtype=np.uint8)
        # Each written so that NaN is poor.
        quality[~(missing_share <= q.max_missing_surface_share)] |= np.uint8(BlockQuality.NO_SURFACE)
        quality[~(clipped_share <= q.max_saturated_share)] |= np.uint8(BlockQuality.SATURATED)
        quality[~(brightness_db >= q.min_brightness_db)] |= np.uint8(BlockQuality.LOW_SIGNAL)
        quality[~(seen_mm >= q.min_visualised_depth_um / 1000.0)] |= np.uint8(BlockQuality.SHALLOW)
        return quality, median_px


def _used_share(usable: NDArray[np.bool_], blocks: int) -> NDArray[np.float64]:
    """Share of the A-lines of each whole block that can be used, (blocks,)."""
    whole = np.zeros(blocks * ALINES_PER_BLOCK, np.bool_)
    whole[: len(usable)] = usable
    return np.asarray(whole.reshape(blocks, ALINES_PER_BLOCK).mean(axis=1), np.float64)


def _as_kernel_input(values: NDArray[Any]) -> NDArray[np.float32]:
    """Read-only view or copy: for another kind of array numba would compile anew, in mid-sweep."""
    view = np.ascontiguousarray(values, dtype=np.float32).view()
    view.flags.writeable = False
    return view


def _checked_saturated(saturated: ArrayLike | None, alines: int) -> NDArray[np.bool_]:
    if saturated is None:
        return np.zeros(alines, dtype=np.bool_)
    clipped = np.asarray(saturated, dtype=np.bool_)
    if clipped.shape != (alines,):
        raise InputError(f"saturated: expected shape ({alines},), one per A-line, got {clipped.shape}")
    return clipped
