"""Compile every kernel before the first frame."""

from __future__ import annotations

import numpy as np

from octmargin.signal.attenuation import attenuation
from octmargin.signal.calibration import Calibration
from octmargin.signal.fft import fft
from octmargin.signal.reconstruct import MONO12P, RAW_DTYPES, Reconstructor
from octmargin.signal.surface import find_surface
from octmargin.signal.texture import texture


def warm_up() -> None:
    """Compile, or load from numba's cache, every kernel of this package for the dtypes that it takes.

    Takes seconds the first time; a daemon calls it before it says that it is ready.
    """
    reconstructor = Reconstructor(Calibration(), samples=64, depth=32)
    for dtype in RAW_DTYPES:
        bscan_db = reconstructor.process(np.ones((2, 64), dtype=dtype))
        pattern = Reconstructor(Calibration(), samples=64, depth=32, remove_fixed_pattern=True)
        pattern.process(np.ones((16, 64), dtype=dtype))
    thorough = Reconstructor(
        Calibration(), samples=64, depth=32, raw_format=MONO12P, remove_fixed_pattern=True, average_alines=2
    )
    thorough.process(np.ones((16, 96), dtype=np.uint8))
    fft(np.ones((2, 64), dtype=np.complex64))
    find_surface(bscan_db, axial_um=4.0)
    # A floor above -100 dB, so that the search for an edge itself runs.
    find_surface(np.zeros((2, 32), dtype=np.float32), axial_um=4.0)
    attenuation(np.ones((2, 32), dtype=np.float32), 0.004)
    texture(
        np.ones((2, 32), dtype=np.float32), np.zeros(2, dtype=np.float32), axial_um=4.0, band_um=64.0, bands=1
    )
