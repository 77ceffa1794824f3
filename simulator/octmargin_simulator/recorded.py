"""Spectra from a file as what the simulated console looks at, so that real spectra cross the real wire."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from octmargin.errors import InputError
from octmargin.frames import PixelFormat
from octmargin.spectra import CountScale, SpectraFile


class RecordedSource:
    """The frames of one spectra file, shown as one sweep over `face` (a `FrameSource`).

    Integer spectra pass unchanged: uint8 as MONO8, uint16 as MONO16, or as MONO12 where `pixel_format`
    says so and every value fits. Float spectra are quantised once, at construction, by `count_scale` (by
    default from the file's smallest and largest value), to MONO16 unless MONO12 is asked for.

    `width_mm` and `height_mm` are nominal: a spectra file does not tell them. `factory_calibration` is what
    the caller knows of the instrument, in the form of `FrameSource`; nothing by default. `synthetic` must be
    set for a file of computed spectra.

    Raises InputError for a file that cannot be used (see `SpectraFile.open`) or does not fit the format.
    """

    def __init__(
        self,
        path: str | Path,
        face: str = "superior",
        *,
        width_mm: float = 10.0,
        height_mm: float = 10.0,
        pixel_format: PixelFormat | None = None,
        count_scale: CountScale | None = None,
        factory_calibration: Mapping[str, Any] | None = None,
        synthetic: bool = False,
        samples: int | None = None,
        alines: int | None = None,
        dtype: DTypeLike | None = None,
        dataset: str | None = None,
    ) -> None:
        self._file = SpectraFile.open(path, samples=samples, alines=alines, dtype=dtype, dataset=dataset)
        self.name = self._file.path.name
        self.synthetic = synthetic
        self.faces: tuple[str, ...] = (face,)
        self.samples, self.alines, self.frames = self._file.samples, self._file.alines, self._file.frames
        self.width_mm, self.height_mm = width_mm, height_mm
        self.count_scale: CountScale | None = None
        """How floats became counts; None where the file held counts already."""
        self._calibration = dict(factory_calibration or {})
        self._counts: NDArray[Any] | None = None
        if self._file.dtype.kind == "f":
            self.pixel_format = pixel_format or PixelFormat.MONO16
            self._quantise(count_scale)
        else:
            native = PixelFormat.MONO8 if self._file.dtype == np.uint8 else PixelFormat.MONO16
            self.pixel_format = pixel_format or native
            self._check_integers()

    @property
    def factory_calibration(self) -> Mapping[str, Any]:
        """What the caller knows of the instrument; empty where nothing is known."""
        return self._calibration

    @property
    def truth(self) -> Mapping[str, str]:
        """Empty: nobody knows what is really there."""
        return {}

    def frame(self, face: str, index: int) -> NDArray[Any]:
        """Return frame `index`, (alines, samples), C-contiguous, read-only; uint8 for MONO8, else uint16."""
        if face not in self.faces:
            raise InputError(f"{self.name}: no face {face!r}; the file is shown as {self.faces[0]}")
        if self._counts is None:
            counts = self._file.frame(index)
        elif 0 <= index < self.frames:
            counts = self._counts[index]
        else:
            raise InputError(f"{self.name}: no frame {index}; it holds frames 0 to {self.frames - 1}")
        counts.flags.writeable = False
        return counts

    def _quantise(self, scale: CountScale | None) -> None:
        if self.pixel_format is PixelFormat.MONO8:
            raise InputError(f"{self.name}: 8 bits are too few for float spectra; use MONO12 or MONO16")
        self._file.check_finite()
        self.count_scale = scale or self._file.to_counts(self.pixel_format.full_scale)
        if self.count_scale.full_scale != self.pixel_format.full_scale:
            raise InputError(
                f"{self.name}: count scale up to {self.count_scale.full_scale}, but {self.pixel_format.name} "
                f"goes to {self.pixel_format.full_scale}; make the scale for the same format"
            )
        self._counts = np.empty((self.frames, self.alines, self.samples), np.uint16)
        for index, spectra in enumerate(self._file):
            self._counts[index] = self.count_scale.apply(spectra)
        self._file.close()

    def _check_integers(self) -> None:
        if self.pixel_format.dtype.itemsize != self._file.dtype.itemsize:
            raise InputError(
                f"{self.name}: {self._file.dtype.name} spectra do not pass unchanged as "
                f"{self.pixel_format.name}; leave the pixel format out"
            )
        if not self._file.mapped:  # reading and decoding at the line rate would be more than a look-up
            self._counts = np.stack(list(self._file))
        if self.pixel_format is PixelFormat.MONO12:
            highest = max(int(spectra.max()) for spectra in self._file)
            if highest > self.pixel_format.full_scale:
                raise InputError(f"{self.name}: a value of {highest} exceeds 12 bits; use MONO16")
