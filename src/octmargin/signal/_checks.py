"""What a calibration's arrays must be before anything is computed with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import CalibrationError
from octmargin.signal._resampling import TAPS

_ALLOWED_OVERHANG_PX = 1.0


def read_only_line(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Copy `values` to a read-only float64 line (samples,); CalibrationError names it and what is wrong."""
    try:
        line = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CalibrationError(
            f"calibration: {name} is not an array of numbers; give one per sample"
        ) from error
    if line.ndim != 1 or len(line) < TAPS:
        raise CalibrationError(
            f"calibration: {name} has shape {line.shape}; expected (samples,), at least {TAPS}"
        )
    if not np.isfinite(line).all():
        raise CalibrationError(
            f"calibration: {name} holds a value that is not finite; give a finite one per sample"
        )
    line.setflags(write=False)
    return line


def named_window(name: str, samples: int) -> NDArray[np.float64]:
    """Return the window (samples,) that scipy.signal knows by `name`."""
    # Imported here: scipy.signal takes longer to load than everything else that a subscriber needs.
    from scipy.signal import get_window  # noqa: PLC0415

    try:
        return np.asarray(get_window(name, samples, fftbins=False), dtype=np.float64)
    except ValueError as error:
        raise CalibrationError(
            f"calibration: window {name!r} cannot be made; name one of scipy.signal.windows that needs no parameter"
        ) from error


def check_k_map(k_map: NDArray[np.float64]) -> None:
    """Raise CalibrationError unless `k_map` (samples,) is monotonic and stays within the spectrum."""
    steps = np.diff(k_map)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise CalibrationError(
            "calibration: k_map is not strictly monotonic; check its coefficients or mirrors"
        )
    last = len(k_map) - 1
    if k_map.min() < -_ALLOWED_OVERHANG_PX or k_map.max() > last + _ALLOWED_OVERHANG_PX:
        raise CalibrationError(
            f"calibration: k_map spans {k_map.min():.2f}..{k_map.max():.2f}, the pixels 0..{last}; rescale it"
        )


def check_lengths_agree(arrays: dict[str, NDArray[np.float64]]) -> None:
    """Raise CalibrationError unless the named arrays have one length."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise CalibrationError(
            f"calibration: arrays differ in length ({found}); give one value per sample in each"
        )


def finite_spectra(raw: ArrayLike) -> NDArray[np.float64]:
    """Return the finite A-lines of `raw` (alines, samples) in float64; CalibrationError without any."""
    spectra = np.asarray(raw, dtype=np.float64)
    if spectra.ndim != 2 or not spectra.size:
        raise CalibrationError(f"raw spectra: expected (alines, samples), got shape {spectra.shape}")
    spectra = spectra[np.isfinite(spectra).all(axis=1)]
    if not len(spectra):
        raise CalibrationError("raw spectra: no A-line is finite; record the sample again")
    return spectra


def lines(series: ArrayLike) -> NDArray[np.float64]:
    """Return a mirror series (n, samples) in float64; CalibrationError for another shape."""
    spectra = np.asarray(series, dtype=np.float64)
    if spectra.ndim != 2:
        raise CalibrationError(f"mirror series: expected (n, samples), got shape {spectra.shape}")
    return spectra
