"""Jitted kernels and calibration: raw spectra to depth profiles, surface and attenuation."""

from octmargin.signal._linearity import LinearInK
from octmargin.signal._mirrors import interference
from octmargin.signal._spectrum_kernels import FLOOR_DB
from octmargin.signal._warm_up import warm_up
from octmargin.signal.attenuation import attenuation
from octmargin.signal.calibration import Calibration
from octmargin.signal.quality import MeasuredQuality, RollOff
from octmargin.signal.reconstruct import Reconstructor
from octmargin.signal.surface import find_surface, noise_floor_db

__all__ = [
    "FLOOR_DB",
    "Calibration",
    "LinearInK",
    "MeasuredQuality",
    "Reconstructor",
    "RollOff",
    "attenuation",
    "find_surface",
    "interference",
    "noise_floor_db",
    "warm_up",
]
