"""What turns the raw spectra of one console into depth profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import CalibrationError
from octmargin.signal import _calibration_file, _mirrors, _sharpness
from octmargin.signal._resampling import TAPS

_ALLOWED_OVERHANG_PX = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Calibration of one console; `Calibration()` is the identity with a Hann window.

    `k_map` (samples,): fractional pixel position of the j-th sample linear in wavenumber, strictly monotonic,
    at most one pixel outside the spectrum. `dispersion_rad` (samples,): phase over the linear-wavenumber
    samples; the chain multiplies by `exp(-1j * dispersion_rad)`. `window`: a name that
    `scipy.signal.get_window` knows, or an array (samples,) over the linear-wavenumber samples. `background`
    (samples,) in counts; without one the mean spectrum of each frame is taken. `axial_um`: the depth pixel in
    tissue, None where nobody knows.

    Arrays are copied, float64 and read-only. Raises CalibrationError for anything that cannot be applied.
    """

    k_map: NDArray[np.float64] | None = None
    dispersion_rad: NDArray[np.float64] | None = None
    window: str | NDArray[np.float64] = "hann"
    background: NDArray[np.float64] | None = None
    axial_um: float | None = None

    def __post_init__(self) -> None:
        for name in ("k_map", "dispersion_rad", "background"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _read_only_line(name, getattr(self, name)))
        if isinstance(self.window, str):
            _named_window(self.window, TAPS)
        else:
            object.__setattr__(self, "window", _read_only_line("window", self.window))
        self._check_lengths_agree()
        if self.k_map is not None:
            _check_k_map(self.k_map)
        if self.axial_um is not None:
            if not (np.isfinite(self.axial_um) and self.axial_um > 0):
                raise CalibrationError(
                    f"calibration: axial_um is {self.axial_um}; give the depth pixel in µm, above 0"
                )
            object.__setattr__(self, "axial_um", float(self.axial_um))

    def _check_lengths_agree(self) -> None:
        lengths = {name: len(array) for name, array in self._arrays().items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise CalibrationError(
                f"calibration: arrays differ in length ({found}); give one value per sample in each"
            )

    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        named = {
            "k_map": self.k_map,
            "dispersion_rad": self.dispersion_rad,
            "background": self.background,
            "window": None if isinstance(self.window, str) else self.window,
        }
        return {name: array for name, array in named.items() if array is not None}

    @property
    def samples(self) -> int | None:
        """Samples per spectrum that this calibration is for; None where it holds no array and fits any."""
        return next((len(array) for array in self._arrays().values()), None)

    def window_over(self, samples: int) -> NDArray[np.float64]:
        """Return the window (samples,); the caller has checked that `samples` fits."""
        return _named_window(self.window, samples) if isinstance(self.window, str) else self.window

    def check_fits(self, samples: int) -> None:
        """Raise CalibrationError unless this calibration can reconstruct spectra of `samples` samples."""
        if samples < TAPS:
            raise CalibrationError(f"spectra of {samples} samples are too short; give at least {TAPS}")
        if self.samples not in (None, samples):
            raise CalibrationError(
                f"calibration is for {self.samples} samples, the spectra have {samples}; use the console's"
            )

    @classmethod
    def from_mirrors(
        cls,
        mirror1: ArrayLike,
        mirror2: ArrayLike,
        window: str | NDArray[np.float64] = "hann",
        axial_um: float | None = None,
    ) -> Calibration:
        """Derive k-map and dispersion from one mirror on either side of zero delay.

        `mirror1`, `mirror2`: interference spectra (samples,), without their background (see `interference`).
        The half sum of the two fringe phases is free of dispersion and gives the k-map; the half difference
        holds the dispersion. Its sign suits a sample on the side of `mirror1`; for the other side take
        `conjugated()`.

        Source: Attendu et al., J. Biomed. Opt. 24(5), 056001 (2019), doi 10.1117/1.JBO.24.5.056001.
        Raises CalibrationError where a spectrum holds no clear fringe.
        """
        first, second = _read_only_line("mirror1", mirror1), _read_only_line("mirror2", mirror2)
        if len(first) != len(second):
            raise CalibrationError(
                f"mirrors: mirror1 has {len(first)} samples, mirror2 {len(second)}; record both alike"
            )
        k_map, dispersion_rad = _mirrors.calibrate(first, second)
        return cls(k_map=k_map, dispersion_rad=dispersion_rad, window=window, axial_um=axial_um)

    @classmethod
    def from_polynomial(
        cls,
        k_map_coefficients: Sequence[float],
        dispersion_coefficients: Sequence[float] = (0.0,),
        *,
        samples: int,
        window: str | NDArray[np.float64] = "hann",
        axial_um: float | None = None,
    ) -> Calibration:
        """Evaluate a console's factory calibration.

        Both are polynomials over x = j / (samples - 1), lowest power first: `k_map_coefficients` in pixels,
        `dispersion_coefficients` in radians.
        """
        if samples < TAPS:
            raise CalibrationError(f"calibration: samples is {samples}; give at least {TAPS}")
        if len(k_map_coefficients) == 0 or len(dispersion_coefficients) == 0:
            raise CalibrationError("calibration: a polynomial without coefficients; give at least one")
        x = np.linspace(0.0, 1.0, samples)
        return cls(
            k_map=np.asarray(polynomial.polyval(x, k_map_coefficients), dtype=np.float64),
            dispersion_rad=np.asarray(polynomial.polyval(x, dispersion_coefficients), dtype=np.float64),
            window=window,
            axial_um=axial_um,
        )

    def refine_dispersion(self, raw: ArrayLike) -> Calibration:
        """Add the second- and third-order phase that makes the reconstruction of `raw` sharpest.

        `raw` (alines, samples) in counts.

        Sharpness is sum(p^2) / (sum p)^2 per A-line over the intensity p, and its median over the A-lines, so
        that a corrupt line has no say. The added phase is free of a linear part: depths stay where they were.
        """
        spectra = self._spectra(raw)
        added = _sharpness.sharpest_phase(self._linear(spectra), self._phase(spectra.shape[1]))
        return replace(self, dispersion_rad=self._phase(spectra.shape[1]) + added)

    def best_dispersion_sign(self, raw: ArrayLike) -> Calibration:
        """Return this calibration or its conjugate, whichever reconstructs `raw` (alines, samples) sharper.

        A sample may lie on either side of zero delay; nothing but its sharpness tells on which.
        """
        spectra = self._spectra(raw)
        linear, phase = self._linear(spectra), self._phase(spectra.shape[1])
        as_is, flipped = _sharpness.sharpness(linear, phase), _sharpness.sharpness(linear, -phase)
        return self if as_is >= flipped else self.conjugated()

    def conjugated(self) -> Calibration:
        """Return the same with the sign of the dispersion flipped: for the other side of zero delay."""
        return self if self.dispersion_rad is None else replace(self, dispersion_rad=-self.dispersion_rad)

    def with_background(self, counts: ArrayLike) -> Calibration:
        """Return the same with `counts` (samples,) as the background."""
        return replace(self, background=np.asarray(counts, dtype=np.float64))

    def point_spread_width(self, interference_spectrum: ArrayLike, zero_padding: int = 16) -> float:
        """Width of a mirror's peak at half of its amplitude, in unpadded depth pixels.

        `interference_spectrum` (samples,): one mirror without its background. Raises CalibrationError where
        its peak is not to be found.
        """
        spectrum = _read_only_line("interference_spectrum", interference_spectrum)
        samples = len(spectrum)
        self.check_fits(samples)
        return _mirrors.point_spread_width(
            spectrum - spectrum.mean(),
            self.k_map,
            self._phase(samples),
            self.window_over(samples),
            zero_padding,
        )

    def save(self, path: str | Path) -> None:
        """Write the versioned calibration file (NumPy .npz, no pickle) to exactly `path`."""
        _calibration_file.write(Path(path), self._arrays(), self.window, self.axial_um)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a file written by `save`. Raises CalibrationError that names the file and what is wrong."""
        entries: dict[str, Any] = _calibration_file.read(Path(path))
        try:
            return cls(**entries)
        except CalibrationError as error:
            raise CalibrationError(f"calibration file {path}: {error}") from error

    def _phase(self, samples: int) -> NDArray[np.float64]:
        return np.zeros(samples) if self.dispersion_rad is None else self.dispersion_rad

    def _spectra(self, raw: ArrayLike) -> NDArray[np.float64]:
        spectra = np.asarray(raw, dtype=np.float64)
        if spectra.ndim != 2 or not spectra.size:
            raise CalibrationError(f"raw spectra: expected (alines, samples), got shape {spectra.shape}")
        self.check_fits(spectra.shape[1])
        spectra = spectra[np.isfinite(spectra).all(axis=1)]
        if not len(spectra):
            raise CalibrationError("raw spectra: no A-line is finite; record the sample again")
        return spectra

    def _linear(self, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
        # The median spectrum, unlike the mean, is blind to the corrupt line that some consoles end a frame
        # with.
        background = np.median(spectra, axis=0) if self.background is None else self.background
        return _mirrors.to_linear_wavenumber(
            _sharpness.pick_lines(spectra) - background, self.k_map, self.window_over(spectra.shape[1])
        )


def _read_only_line(name: str, values: ArrayLike) -> NDArray[np.float64]:
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


def _named_window(name: str, samples: int) -> NDArray[np.float64]:
    # Imported here: scipy.signal takes longer to load than everything else that a subscriber needs.
    from scipy.signal import get_window  # noqa: PLC0415

    try:
        return np.asarray(get_window(name, samples, fftbins=False), dtype=np.float64)
    except ValueError as error:
        raise CalibrationError(
            f"calibration: no window is called {name!r}; use one of scipy.signal.windows"
        ) from error


def _check_k_map(k_map: NDArray[np.float64]) -> None:
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
