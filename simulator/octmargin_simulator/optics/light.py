"""How much of the light that enters tissue comes back from each depth."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


def returned_amplitude(
    attenuation_per_mm: NDArray[np.float32],
    backscatter: NDArray[np.float32],
    *,
    axial_um: float,
    full_light_counts: float = 1.0,
    scattering_angle_rad: float | None = None,
    beam_radius_um: float = 10.0,
    refractive_index: float = 1.38,
) -> NDArray[np.float32]:
    """Root-mean-square fringe amplitude of every depth pixel, float32 (alines, depth), counts.

    `attenuation_per_mm` and `backscatter` (intensity at full light, linear) are float32 (alines, depth);
    `full_light_counts` is the amplitude where backscatter is 1 and nothing shades. Light that was scattered once
    falls with exp(-2 tau), tau the integral of the attenuation down to the centre of the pixel (Beer-Lambert).

    With `scattering_angle_rad`, the root mean square angle of one forward scattering, light that was scattered
    forward more than once adds the tail of the extended Huygens-Fresnel model (Thrane 2000,
    doi:10.1364/JOSAA.17.000484): exp(-2 tau) + 4 exp(-tau) (1 - exp(-tau)) / (1 + r) + (1 - exp(-tau))^2 / r with
    r = 1 + (angle * z / n)^2 * tau / (3 w^2), w the beam's radius in focus and z the depth in tissue.
    """
    widening = 0.0
    if scattering_angle_rad is not None:
        widening = (scattering_angle_rad * 1000 / refractive_index / beam_radius_um) ** 2 / 3
    amplitude = np.empty(attenuation_per_mm.shape, np.float32)
    _fall(
        attenuation_per_mm,
        backscatter,
        np.float32(axial_um / 1000),
        np.float32(full_light_counts),
        np.float32(widening),
        amplitude,
    )
    return amplitude


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _fall(
    attenuation_per_mm: NDArray[np.float32],
    backscatter: NDArray[np.float32],
    pixel_mm: np.float32,
    full_light: np.float32,
    widening: np.float32,
    amplitude: NDArray[np.float32],
) -> None:
    one, four, half = np.float32(1), np.float32(4), np.float32(0.5)
    for a in range(attenuation_per_mm.shape[0]):
        tau = below_mm = np.float32(0)
        for d in range(attenuation_per_mm.shape[1]):
            mu = attenuation_per_mm[a, d]
            tau += half * mu * pixel_mm
            once = np.exp(-tau)
            light = once * once
            if widening > 0 and tau > 0:
                spread = one + widening * below_mm * below_mm * tau
                light += four * once * (one - once) / (one + spread) + (one - once) * (one - once) / spread
            amplitude[a, d] = full_light * np.sqrt(backscatter[a, d] * light)
            tau += half * mu * pixel_mm
            if tau > 0:
                below_mm += pixel_mm
