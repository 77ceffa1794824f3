"""One B-scan in, one flag per block out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import ConfigError, InputError
from octmargin.frames import ALINES_PER_BLOCK, BlockQuality
from octmargin.margin import _block_kernels, _segments, _suspicion
from octmargin.margin.flags import BlockFlags
from octmargin.margin.rule import CLASSES, RuleParameters
from octmargin.signal import find_surface, noise_floor_db

MODELS = ("rule-1",)
_BRIGHTNESS_TO_UM = 150.0
_LEAST_VARIANCE = 0.005
_ADIPOSE_SPREAD = 0.15


class Assessor:
    """Judges the blocks of B-scans by rule-1 (docs/margin-rule.md).

    `model` names the rule; its outputs are not calibrated probabilities. `rolloff_db_per_mm`, the console's fall of
    sensitivity with depth in tissue, is not read as attenuation. Holds work buffers, so one object
    serves one thread at a time. Raises ConfigError for a model that does not exist.
    """

    classes = CLASSES

    def __init__(
        self,
        model: str = "rule-1",
        parameters: RuleParameters | None = None,
        *,
        rolloff_db_per_mm: float = 0.0,
    ) -> None:
        if model not in MODELS:
            raise ConfigError(f"model {model!r} does not exist; use one of {', '.join(MODELS)}")
        self.model = model
        self.parameters = parameters or RuleParameters()
        if not (np.isfinite(rolloff_db_per_mm) and rolloff_db_per_mm >= 0):
            raise ConfigError(
                f"rolloff_db_per_mm is {rolloff_db_per_mm}; give the fall of sensitivity in dB per mm, at least 0"
            )
        self._rolloff_per_mm = rolloff_db_per_mm * np.log(10.0) / 10.0
        self._rule = _suspicion.pack(self.parameters)
        self._intensity = np.empty((0, 0), dtype=np.float32)
        self._profile = np.empty((0, 0), dtype=np.float32)
        self._bins, self._scratch = 0, _segments.layer_scratch(0)

    def assess(
        self,
        bscan_db: NDArray[Any],
        *,
        axial_um: float,
        intensity: NDArray[np.float32] | None = None,
        saturated: ArrayLike | None = None,
    ) -> BlockFlags:
        """Flag the blocks of one B-scan.

        `bscan_db` (alines, depth) float, dB; `axial_um` the depth pixel in tissue; `intensity` the same
        linearly, float32, derived from the dB unless given; `saturated` (alines,) bool. Raises InputError for
        shapes that do not fit.
        """
        noise_db = noise_floor_db(bscan_db, axial_um=axial_um)
        bscan_db = _as_kernel_input(bscan_db)
        surface_px = find_surface(bscan_db, axial_um=axial_um, noise_db=noise_db)
        linear = _as_kernel_input(self._linear(bscan_db, intensity))
        clipped = _checked_saturated(saturated, len(bscan_db))
        noise = 10.0 ** (noise_db / 10.0) if np.isfinite(noise_db) else np.inf

        with_surface = np.isfinite(surface_px)
        profile, profile_px = self._average(linear, surface_px, with_surface & ~clipped, axial_um)
        found, seen_mm = self._judge_profiles(profile, profile_px, noise, axial_um)
        first_px, to_px = (round(um / axial_um) for um in (self.parameters.specular_um, _BRIGHTNESS_TO_UM))
        with np.errstate(divide="ignore", invalid="ignore"):
            brightness_db = 10.0 * np.log10(
                profile[:, first_px : max(to_px, first_px + 1)].mean(axis=1) / noise
            )
        brightness_db[profile_px == 0] = np.nan
        quality, median_px = self._quality(surface_px, clipped, brightness_db, seen_mm)
        suspicion = found[:, _suspicion.SUSPICION]
        suspicious = (suspicion >= self.parameters.suspicious_at) & (quality == BlockQuality.OK)
        enface_db = np.empty(len(bscan_db), dtype=np.float32)
        _block_kernels.project_enface(
            bscan_db,
            surface_px,
            round(_block_kernels.ENFACE_FROM_UM / axial_um),
            round(_block_kernels.ENFACE_TO_UM / axial_um),
            enface_db,
        )
        return BlockFlags(
            suspicion=suspicion.astype(np.float32),
            probabilities=self._probabilities(suspicion, found[:, _suspicion.MEAN_ATTENUATION]),
            suspicious=suspicious,
            distance_mm=np.where(suspicious, found[:, _suspicion.TOP_MM], np.nan).astype(np.float32),
            visualised_depth_mm=seen_mm.astype(np.float32),
            quality=quality,
            surface_mm=median_px * np.float32(axial_um / 1000.0),
            attenuation_per_mm=found[:, _suspicion.ATTENUATION].astype(np.float32),
            brightness_db=brightness_db.astype(np.float32),
            surface_px=surface_px,
            enface_db=enface_db,
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
        wanted_um = max(self.parameters.assessed_depth_um, self.parameters.specular_um, _BRIGHTNESS_TO_UM)
        wanted_px = round((wanted_um + self.parameters.bin_um) / axial_um) + 2
        shape = (-(-len(linear) // ALINES_PER_BLOCK), min(linear.shape[1], wanted_px))
        if self._profile.shape != shape:
            self._profile = np.empty(shape, dtype=np.float32)
        profile_px = np.empty(shape[0], dtype=np.int64)
        _block_kernels.average_blocks(linear, surface_px, usable, ALINES_PER_BLOCK, self._profile, profile_px)
        return self._profile, profile_px

    def _judge_profiles(
        self, profile: NDArray[np.float32], profile_px: NDArray[np.int64], noise: float, axial_um: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Most suspicious layer (blocks, columns of `_suspicion`) and visualised depth in mm (blocks,)."""
        p = self.parameters
        bin_px, first_px = max(1, round(p.bin_um / axial_um)), round(p.specular_um / axial_um)
        bin_mm, first_mm = bin_px * axial_um / 1000.0, first_px * axial_um / 1000.0
        bins = max(1, int((p.assessed_depth_um / 1000.0 - first_mm) / bin_mm))
        if bins != self._bins:
            self._bins, self._scratch = bins, _segments.layer_scratch(bins)
        log_bins = np.empty((len(profile), bins))
        bins_seen = np.empty(len(profile), dtype=np.int64)
        needed = noise * 10.0 ** (p.cut_over_noise_db / 10.0)
        _block_kernels.bin_profiles(
            profile,
            profile_px,
            noise,
            needed,
            bin_px,
            first_px,
            self._rolloff_per_mm * bin_mm,
            log_bins,
            bins_seen,
        )
        variance = _segments.residual_variance(log_bins, bins_seen, _LEAST_VARIANCE)
        found = np.empty((len(profile), _suspicion.COLUMNS))
        _suspicion.judge_layers(
            log_bins,
            bins_seen,
            variance,
            self._rule,
            bin_mm,
            first_mm,
            self._scratch,
            np.empty((bins, _segments.COLUMNS)),
            found,
        )
        return found, np.where(bins_seen > 0, first_mm + bins_seen * bin_mm, 0.0)

    def _quality(
        self,
        surface_px: NDArray[np.float32],
        clipped: NDArray[np.bool_],
        brightness_db: NDArray[np.floating[Any]],
        seen_mm: NDArray[np.float64],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Quality bits and median surface in pixels, both (blocks,)."""
        p = self.parameters
        missing_share, clipped_share = np.empty(len(seen_mm)), np.empty(len(seen_mm))
        median_px = np.empty(len(seen_mm), dtype=np.float32)
        _block_kernels.summarise_blocks(
            surface_px, clipped, ALINES_PER_BLOCK, missing_share, clipped_share, median_px
        )
        quality = np.zeros(len(seen_mm), dtype=np.uint8)
        # Each written so that NaN is poor.
        quality[~(missing_share <= p.max_missing_surface_share)] |= np.uint8(BlockQuality.NO_SURFACE)
        quality[~(clipped_share <= p.max_saturated_share)] |= np.uint8(BlockQuality.SATURATED)
        quality[~(brightness_db >= p.min_brightness_db)] |= np.uint8(BlockQuality.LOW_SIGNAL)
        quality[~(seen_mm >= p.min_visualised_depth_um / 1000.0)] |= np.uint8(BlockQuality.SHALLOW)
        return quality, median_px

    def _probabilities(
        self, suspicion: NDArray[np.float64], mean_attenuation_per_mm: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        weak = np.log(np.maximum(mean_attenuation_per_mm, 1e-3) / self.parameters.adipose_attenuation_per_mm)
        adipose = 1.0 / (1.0 + np.exp(weak / _ADIPOSE_SPREAD))
        rest = 1.0 - suspicion
        return np.stack([rest * adipose, rest * (1.0 - adipose), suspicion], axis=1).astype(np.float32)


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
