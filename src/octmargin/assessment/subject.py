"""What can be assessed: a recording, or a file of spectra together with what it does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.frames import PixelFormat, ScanPlan
from octmargin.spectra import CountScale, SpectraFile

_NOMINAL_LINE_RATE_HZ = 25_000.0
_FORMATS = {pixel_format.bits: pixel_format for pixel_format in PixelFormat}


class Subject(Protocol):
    """Spectra of the faces of one specimen; `octmargin.archive.Recording` is one."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def synthetic(self) -> bool:
        """Whether the spectra were computed, not measured."""

    @property
    def faces(self) -> tuple[str, ...]:
        """In the order in which they are shown."""

    @property
    def truth(self) -> Mapping[str, str]:
        """Per face what is really there, "suspicious" or "clear", where that is known."""

    def plan(self, face: str) -> ScanPlan:
        """The planned grid."""

    def frame(self, face: str, index: int) -> NDArray[np.unsignedinteger[Any]] | None:
        """Counts (alines, samples); None where the frame was lost, InputError where it is damaged."""


class FileSubject:
    """The frames of a spectra file as one sweep over `face`.

    Float spectra are put into 16-bit counts by the file's smallest and largest value, as the replay driver does;
    then none counts as saturated. `bits` are the significant bits of integer counts, which say what is saturated;
    as many as the file's type has unless given. InputError where they do not fit the file.
    """

    truth: Mapping[str, str] = {}

    def __init__(
        self,
        file: SpectraFile,
        *,
        face: str,
        width_mm: float,
        height_mm: float,
        synthetic: bool,
        bits: int | None = None,
    ) -> None:
        self.name = file.path.name
        self.synthetic = synthetic
        self.faces: tuple[str, ...] = (face,)
        self._file = file
        self._scale: CountScale | None = None
        if file.dtype.kind == "f":
            if bits is not None:
                raise InputError(f"{file.path}: float spectra have no bits; leave --bits out")
            pixel_format = PixelFormat.MONO16
            self._scale = file.to_counts(pixel_format.full_scale)
        else:
            pixel_format = _integer_format(file, bits)
        self._plan = ScanPlan(
            face=face,
            samples=file.samples,
            alines=file.alines,
            frames=file.frames,
            width_mm=width_mm,
            height_mm=height_mm,
            line_rate_hz=_NOMINAL_LINE_RATE_HZ,
            pixel_format=pixel_format,
        )

    def plan(self, face: str) -> ScanPlan:
        """The grid of the file's frames."""
        self._check(face)
        return self._plan

    def frame(self, face: str, index: int) -> NDArray[np.unsignedinteger[Any]]:
        """Counts (alines, samples)."""
        self._check(face)
        spectra: NDArray[Any] = self._file.frame(index)
        return spectra if self._scale is None else self._scale.apply(spectra)

    def _check(self, face: str) -> None:
        if face not in self.faces:
            raise InputError(f"{self.name}: no face {face!r}; the file is shown as {self.faces[0]}")


def _integer_format(file: SpectraFile, bits: int | None) -> PixelFormat:
    width = 8 * file.dtype.itemsize
    pixel_format = _FORMATS.get(width if bits is None else bits)
    if pixel_format is None or pixel_format.dtype.itemsize != file.dtype.itemsize:
        fitting = [str(f.bits) for f in PixelFormat if f.dtype.itemsize == file.dtype.itemsize]
        raise InputError(
            f"{file.path}: {file.dtype.name} counts have no {bits} bits; give {' or '.join(fitting)}"
        )
    if bits is not None and bits < width:
        highest = max(int(spectra.max()) for spectra in file)
        if highest > pixel_format.full_scale:
            raise InputError(f"{file.path}: a count of {highest} exceeds {bits} bits; leave --bits out")
    return pixel_format
