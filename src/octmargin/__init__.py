"""Margin flags from optical coherence tomography, in near real time. Research use only."""

from octmargin.margin import Assessor
from octmargin.signal import Calibration, Reconstructor, attenuation, find_surface

__version__ = "0.1.0"

__all__ = ["Assessor", "Calibration", "Reconstructor", "__version__", "attenuation", "find_surface"]
