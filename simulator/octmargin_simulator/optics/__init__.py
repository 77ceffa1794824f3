"""The simulated console's optics: how tissue becomes the spectra that a line camera reads.

`ConsoleOptics` holds every number, `returned_amplitude` the light that comes back from each depth, `Interferometer`
makes speckle and spectra of it.
"""

from octmargin_simulator.optics.console import ConsoleOptics
from octmargin_simulator.optics.interferometer import Interferometer, Reflections
from octmargin_simulator.optics.light import returned_amplitude

__all__ = ["ConsoleOptics", "Interferometer", "Reflections", "returned_amplitude"]
