"""What turns the raw spectra of one console into depth profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import CalibrationError
from octmargin.signal import (
    _calibration_file,
    _checks,
    _factory,
    _linearity,
    _mirrors,
    _point_spread,
    _sharpness,
)
from octmargin.signal._linearity import LinearInK
from octmargin.signal._point_spread import PointSpread
from octmargin.signal._resampling import TAPS
from octmargin.signal.quality import MeasuredQuality, quality_of, rolloff_of

TISSUE_REFRACTIVE_INDEX = 1.4
"""Nominal, for soft tissue in the near infrared: a convention, not a measurement of the specimen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Calibration of one console; `Calibration()` is the identity with a Hann window.

    `k_map` (samples,): fractional pixel position of the j-th sample linear in wavenumber, strictly monotonic,
    at most one pixel outside the spectrum. `dispersion_rad` (samples,): phase over the linear-wavenumber
    samples; the chain multiplies by `exp(-1j * dispersion_rad)`. `window`: a name that
    `scipy.signal.get_window` knows, or an array (samples,) over the linear-wavenumber samples. `background`
    (samples,) in counts; without one the mean spectrum of each frame is taken. `axial_um`: the depth pixel in
    tissue, None where nobody knows. `quality`: what its mirrors reached, None where none were measured; it
    stays as measured when the dispersion is refined for a sample.

    Arrays are copied, float64 and read-only. Raises CalibrationError for anything that cannot be applied.
    """

    k_map: NDArray[np.float64] | None = None
    dispersion_rad: NDArray[np.float64] | None = None
    window: str | NDArray[np.float64] = "hann"
    background: NDArray[np.float64] | None = None
    axial_um: float | None = None
    quality: MeasuredQuality | None = None

    def __post_init__(self) -> None:
        for name in ("k_map", "dispersion_rad", "background"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _checks.read_only_line(name, getattr(self, name)))
        if isinstance(self.window, str):
            _checks.named_window(self.window, TAPS)
        else:
            object.__setattr__(self, "window", _checks.read_only_line("window", self.window))
        _checks.check_lengths_agree(self._arrays())
        if self.k_map is not None:
            _checks.check_k_map(self.k_map)
        if self.axial_um is not None:
            if not (np.isfinite(self.axial_um) and self.axial_um > 0):
                raise CalibrationError(
                    f"calibration: axial_um is {self.axial_um}; give the depth pixel in µm, above 0"
                )
            object.__setattr__(self, "axial_um", float(self.axial_um))

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
        return _checks.named_window(self.window, samples) if isinstance(self.window, str) else self.window

    def rolloff_db_per_mm(self, axial_um: float) -> float:
        """Fall of sensitivity in dB per mm for depth pixels of `axial_um` µm; 0 where it was not measured or rises."""
        if self.quality is None or self.quality.rolloff is None:
            return 0.0
        return max(0.0, self.quality.rolloff.db_per_mm(axial_um))

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
        *,
        series: ArrayLike | None = None,
    ) -> Calibration:
        """Derive k-map and dispersion from one mirror on either side of zero delay.

        `mirror1`, `mirror2`: interference spectra (samples,), without their background (see `interference`).
        The half sum of the two fringe phases is free of dispersion and gives the k-map; the half difference
        holds the dispersion. Its sign suits a sample on the side of `mirror1`; for the other side take
        `conjugated()`. `series` (n, samples): one mirror at several depths, its power unchanged, for the
        roll-off; without it, or with fewer than 3 depths, the roll-off of `quality` is None.

        Source: Attendu et al., J. Biomed. Opt. 24(5), 056001 (2019), doi 10.1117/1.JBO.24.5.056001.
        Raises CalibrationError where a spectrum holds no clear fringe.
        """
        first, second = _checks.read_only_line("mirror1", mirror1), _checks.read_only_line("mirror2", mirror2)
        if len(first) != len(second):
            raise CalibrationError(
                f"mirrors: mirror1 has {len(first)} samples, mirror2 {len(second)}; record both alike"
            )
        k_map, dispersion_rad = _mirrors.calibrate(first, second)
        found = cls(k_map=k_map, dispersion_rad=dispersion_rad, window=window, axial_um=axial_um)
        other_side = found.conjugated()
        rolloff = None
        if series is not None:
            # Which side of zero delay each lies on is seen from its peak: the wrong sign lowers it.
            sides = [
                [side.point_spread(line) for side in (found, other_side)] for line in _checks.lines(series)
            ]
            rolloff = rolloff_of([max(pair, key=lambda peak: peak.peak_db) for pair in sides])
        quality = quality_of(found.point_spread(first), other_side.point_spread(second), rolloff)
        return replace(found, quality=quality)

    @classmethod
    def from_wavelengths(
        cls,
        coefficients_nm: Sequence[float],
        dispersion_coefficients: Sequence[float] = (0.0,),
        *,
        samples: int,
        refractive_index: float = TISSUE_REFRACTIVE_INDEX,
        window: str | NDArray[np.float64] = "hann",
    ) -> Calibration:
        """Derive the k-map and the depth pixel of a spectrometer from its wavelength polynomial.

        `coefficients_nm`: wavelength in nm over the pixel number 0 to samples - 1, lowest power first, as makers
        of spectrometers state it. `dispersion_coefficients` as in `from_polynomial`. `axial_um` becomes
        pi / (refractive_index * samples * dk), dk the step of the linear wavenumbers 2 pi / lambda.

        Raises CalibrationError unless the wavelengths are above 0 and strictly monotonic.
        """
        k_map, k_step = _factory.k_map_and_step(coefficients_nm, samples)
        return cls(
            k_map=k_map,
            dispersion_rad=_factory.evaluated(dispersion_coefficients, samples),
            window=window,
            axial_um=_factory.depth_pixel_um(k_step, samples, refractive_index),
        )

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
        return cls(
            k_map=_factory.evaluated(k_map_coefficients, samples),
            dispersion_rad=_factory.evaluated(dispersion_coefficients, samples),
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
        return replace(self, background=_checks.read_only_line("background", counts))

    @property
    def k_map_departure_px(self) -> float:
        """RMS distance of the k-map from a straight line within the window, in pixels; 0 without a k-map."""
        if self.k_map is None:
            return 0.0
        return _linearity.departure_px(self.k_map, self.window_over(len(self.k_map)))

    @property
    def is_linear_in_k(self) -> bool:
        """Whether the spectra that this was derived from are linear in wavenumber already.

        That is: the k-map is straight to 1/7 px, which costs no depth pixel more than 20 % of its peak.
        """
        return self.k_map_departure_px < _linearity.STRAIGHT_WITHIN_PX

    def linearity_of(self, raw: ArrayLike) -> LinearInK:
        """Tell whether `raw` (alines, samples) is linear in wavenumber: sharper without this k-map than with it.

        Some systems hand out spectra already linear while their mirrors or background are not. A corrupt line
        has no say. UNDECIDED where the sharpness differs by less than 5 %.
        """
        if self.k_map is None:
            raise CalibrationError(
                "calibration: holds no k-map to try the spectra with; derive one from mirrors"
            )
        spectra = self._spectra(raw)
        samples = spectra.shape[1]
        return _linearity.sharper_of(
            self._picked(spectra), self.k_map, self._phase(samples), self.window_over(samples)
        )

    def mirror_profile(self, interference_spectrum: ArrayLike, zero_padding: int = 16) -> NDArray[np.float64]:
        """Amplitude over depth, `zero_padding` values per depth pixel, of a mirror without its background."""
        spectrum = _checks.read_only_line("interference_spectrum", interference_spectrum)
        samples = len(spectrum)
        self.check_fits(samples)
        return _point_spread.amplitude_profile(
            spectrum, self.k_map, self._phase(samples), self.window_over(samples), zero_padding
        )

    def point_spread(self, interference_spectrum: ArrayLike, zero_padding: int = 16) -> PointSpread:
        """Measure a mirror's peak; `interference_spectrum` (samples,) is the mirror without its background.

        Raises CalibrationError where the peak is not to be found.
        """
        return _point_spread.point_spread(
            self.mirror_profile(interference_spectrum, zero_padding), zero_padding
        )

    def point_spread_width(self, interference_spectrum: ArrayLike, zero_padding: int = 16) -> float:
        """Width of a mirror's peak at half of its amplitude, in unpadded depth pixels; see `point_spread`."""
        return self.point_spread(interference_spectrum, zero_padding).width_px

    def save(self, path: str | Path) -> None:
        """Write the versioned calibration file (NumPy .npz, no pickle) to exactly `path`."""
        _calibration_file.write(Path(path), self._arrays(), self.window, self.axial_um, self.quality)

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
        spectra = _checks.finite_spectra(raw)
        self.check_fits(spectra.shape[1])
        return spectra

    def _picked(self, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
        # The median spectrum, unlike the mean, is blind to the corrupt line that some consoles end a frame
        # with.
        background = np.median(spectra, axis=0) if self.background is None else self.background
        return _sharpness.pick_lines(spectra) - background

    def _linear(self, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
        return _point_spread.to_linear_wavenumber(
            self._picked(spectra), self.k_map, self.window_over(spectra.shape[1])
        )
