"""Synthetic spectra to measure with: fringes of layered speckle under a source spectrum, in camera counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.signal import Calibration

AXIAL_UM = 4.0
FULL_SCALE = 4095


@dataclass(frozen=True, slots=True)
class SyntheticFrame:
    """One frame (alines, samples) uint16 of a 12-bit camera and the calibration that fits it."""

    raw: NDArray[np.uint16]
    calibration: Calibration


def synthetic_frame(samples: int, alines: int, seed: int = 0) -> SyntheticFrame:
    """Tissue of speckle below a wavy surface, seen by a spectrometer that is not linear in wavenumber.

    The fringe of depth pixel d is cos(2 pi d u + dispersion(u)) at the wavenumber u of each camera pixel.
    """
    rng = np.random.default_rng(seed)
    pixel = np.arange(samples) / (samples - 1)
    linear = 1.09 * pixel - 0.06 * pixel**2 - 0.03 * pixel**3
    k_map = linear * (samples - 1)
    wavenumber = np.interp(pixel, linear, pixel)
    depths_px = np.arange(2, samples // 5)
    phase = 2.0 * np.pi * depths_px[:, None] * wavenumber * (samples - 1) / samples
    fringes = np.cos(phase + _dispersion_rad(wavenumber)).astype(np.float32)

    surface_px = samples / 20 * (1.0 + 0.3 * np.sin(2.0 * np.pi * np.arange(alines) / max(alines, 64)))
    below_px = depths_px - surface_px[:, None]
    reflectivity = np.where(below_px >= 0, 12.0 * np.exp(-np.clip(below_px, 0, None) * 8.0 / samples), 0.0)
    speckle = rng.normal(size=below_px.shape).astype(np.float32)
    source = np.exp(-(((pixel - 0.5) / 0.3) ** 2)).astype(np.float32)
    counts = 60.0 + source * (2000.0 + (reflectivity.astype(np.float32) * speckle) @ fringes)
    counts += rng.normal(scale=4.0, size=counts.shape)
    calibration = Calibration(
        k_map=k_map, dispersion_rad=_dispersion_rad(pixel), window="hann", axial_um=AXIAL_UM
    )
    return SyntheticFrame(np.clip(np.rint(counts), 0, FULL_SCALE).astype(np.uint16), calibration)


def _dispersion_rad(wavenumber: NDArray[np.float64]) -> NDArray[np.float64]:
    u = 2.0 * wavenumber - 1.0
    return np.asarray(24.0 * u**2 + 6.0 * u**3)
