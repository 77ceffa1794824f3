"""Synthetic tissue with known layers: Beer-Lambert intensity, fully developed speckle, exponential noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

AXIAL_UM = 4.0
ALINES, DEPTH, WIDTH_MM = 512, 640, 8.0
# Attenuation in 1/mm, backscatter relative to stroma.
ADIPOSE, STROMA, TUMOUR = (1.5, 10**-0.8), (3.0, 1.0), (6.5, 10**0.5)


class Tissue:
    """B-scans of layers over a wavy surface, with a tumour ellipsoid or without."""

    axial_um = AXIAL_UM
    adipose, stroma, tumour = ADIPOSE, STROMA, TUMOUR
    block_mm = (np.arange(ALINES // 16) + 0.5) * WIDTH_MM * 16 / ALINES

    def bscan_db(
        self,
        layers: Sequence[tuple[tuple[float, float], float]],
        *,
        tumour_mm: tuple[float, float, float, float] | None = None,
        relief_mm: float = 0.04,
        snr_db: float = 30.0,
        seed: int = 0,
        speckle: bool = True,
        rolloff_db_per_mm: float = 0.0,
    ) -> NDArray[np.float32]:
        """(512, 640) dB. `layers`: (attenuation, backscatter) and thickness in mm from the surface on.

        `tumour_mm`: centre across, centre below the surface, half width, half thickness. `snr_db`: stroma at
        the surface over the noise.
        """
        rng = np.random.default_rng(seed)
        across_mm = np.linspace(0, WIDTH_MM, ALINES)[:, None]
        surface_px = 60 + 20 * np.sin(np.arange(ALINES) / rng.uniform(40, 80) + rng.uniform(0, 6))
        below_mm = (np.arange(DEPTH) - surface_px[:, None]) * AXIAL_UM / 1000
        mu = np.zeros((ALINES, DEPTH))
        backscatter = np.zeros((ALINES, DEPTH))
        top_mm = np.zeros((ALINES, 1))
        for (layer_mu, layer_backscatter), thickness_mm in layers:
            wave = np.sin(across_mm / rng.uniform(0.3, 0.6) + rng.uniform(0, 6))
            bottom_mm = top_mm + thickness_mm + relief_mm * wave
            inside = (below_mm >= top_mm) & (below_mm < bottom_mm)
            mu[inside], backscatter[inside] = layer_mu, layer_backscatter
            top_mm = bottom_mm
        if tumour_mm is not None:
            x_mm, z_mm, half_width_mm, half_thickness_mm = tumour_mm
            reach = ((across_mm - x_mm) / half_width_mm) ** 2 + ((below_mm - z_mm) / half_thickness_mm) ** 2
            inside = (reach < 1) & (below_mm >= 0)
            mu[inside], backscatter[inside] = TUMOUR
        signal = mu / STROMA[0] * backscatter * np.exp(-2 * np.cumsum(mu, axis=1) * AXIAL_UM / 1000)
        signal *= 10 ** ((snr_db - rolloff_db_per_mm * np.arange(DEPTH) * AXIAL_UM / 1000) / 10)
        if speckle:
            signal = signal * rng.exponential(size=signal.shape)
        noise = rng.exponential(size=signal.shape)
        return np.asarray(10 * np.log10(signal + noise), dtype=np.float32)


@pytest.fixture(scope="session")
def tissue() -> Tissue:
    return Tissue()


@pytest.fixture(scope="session")
def clear_layers() -> Callable[[int], list[tuple[tuple[float, float], float]]]:
    """Six layers of adipose and stroma in turn, 0.3 to 0.8 mm thick."""

    def layers(seed: int) -> list[tuple[tuple[float, float], float]]:
        thicknesses_mm = np.random.default_rng(seed).uniform(0.3, 0.8, 6)
        order = [ADIPOSE, STROMA] * 3 if seed % 2 else [STROMA, ADIPOSE] * 3
        return list(zip(order, thicknesses_mm.tolist(), strict=True))

    return layers
