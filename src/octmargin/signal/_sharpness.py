"""Dispersion by image sharpness: the phase that makes a scattering sample sharpest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

_LINES = 64
_DC_PX = 8
"""Depths left out: what remains of the source's spectrum there is brighter than any sample."""
_COARSE_RAD = np.linspace(-60.0, 60.0, 61)


def pick_lines(spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evenly spaced A-lines of (alines, samples): enough for a median, few enough to search with."""
    rows = np.unique(np.linspace(0, len(spectra) - 1, _LINES).astype(int))
    return np.asarray(spectra[rows])


def sharpness(linear: NDArray[np.float64], dispersion_rad: NDArray[np.float64]) -> float:
    """Median over A-lines of sum(p^2) / (sum p)^2, p the intensity over depth.

    `linear` (alines, samples): windowed spectra over linear wavenumber. Scale-free; 0 for an empty frame.
    """
    half = linear.shape[1] // 2
    depth = fft.fft(linear * np.exp(-1j * dispersion_rad), axis=1, overwrite_x=True)[
        :, min(_DC_PX, half - 1) : half
    ]
    intensity = depth.real**2 + depth.imag**2
    total = intensity.sum(axis=1)
    lit = total > 0
    if not lit.any():
        return 0.0
    return float(np.median((intensity[lit] ** 2).sum(axis=1) / total[lit] ** 2))


def sharpest_phase(linear: NDArray[np.float64], start_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second- and third-order phase (samples,) that, added to `start_rad`, is sharpest."""
    # Imported here, because only calibration needs it and every start would pay for it.
    from scipy.optimize import minimize  # noqa: PLC0415

    second, third = _curvatures(linear.shape[1])

    def blur(order: NDArray[np.float64]) -> float:
        return -sharpness(linear, start_rad + order[0] * second + order[1] * third)

    # Sharpness has side maxima in the second order, so the simplex starts from the best of a coarse walk.
    coarse = min(_COARSE_RAD, key=lambda a2: blur(np.array([a2, 0.0])))
    simplex = np.array([[coarse, 0.0], [coarse + 1.0, 0.0], [coarse, 1.0]])
    found = minimize(
        blur,
        simplex[0],
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 5e-3, "fatol": 0.0, "maxfev": 160},
    )
    if blur(found.x) >= blur(np.zeros(2)):
        return np.zeros(linear.shape[1])
    return np.asarray(found.x[0] * second + found.x[1] * third)


def _curvatures(samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x^2 and x^3 over -1..1 without the constant and linear part that a Hann-shaped spectrum would see.

    A linear phase is a shift in depth, and the surface must not move with the dispersion.
    """
    x = np.linspace(-1.0, 1.0, samples)
    weight = np.cos(np.pi / 2 * x) ** 2
    lower = np.stack([np.ones(samples), x], axis=1)
    root = np.sqrt(weight)[:, None]
    orders = np.stack([x**2, x**3], axis=1)
    seen, *_ = np.linalg.lstsq(lower * root, orders * root, rcond=None)
    curved = orders - lower @ seen
    return curved[:, 0], curved[:, 1]
