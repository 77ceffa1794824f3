"""Jitted kernels and calibration: raw spectra to depth profiles, surface and attenuation."""

from octmargin.signal._decibels import FLOOR_DB
from octmargin.signal._linearity import LinearInK
from octmargin.signal._mirrors import interference
from octmargin.signal._warm_up import warm_up
from octmargin.signal.attenuation import attenuation
from octmargin.signal.calibration import Calibration
from octmargin.signal.fft import fft
from octmargin.signal.quality import MeasuredQuality, RollOff
from octmargin.signal.reconstruct import Reconstructor
from octmargin.signal.surface import find_surface, noise_floor_db
from octmargin.signal.texture import Texture, texture

__all__ = [
    "FLOOR_DB",
    "Calibration",
    "LinearInK",
    "MeasuredQuality",
    "Reconstructor",
    "RollOff",
    "Texture",
    "attenuation",
    "fft",
    "find_surface",
    "interference",
    "noise_floor_db",
    "texture",
    "warm_up",
]
