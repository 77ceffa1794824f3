"""After warming up, nothing is compiled while frames arrive."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from octmargin import margin, signal
from octmargin.margin import (
    Assessor,
    SweepMap,
    _block_kernels,
    _cell_kernels,
    _network_kernels,
    _segments,
    _suspicion,
)
from octmargin.signal import (
    Calibration,
    Reconstructor,
    _attenuation_kernels,
    _chain_kernels,
    _decibels,
    _frame_kernels,
    _surface_kernels,
)
from octmargin.signal import attenuation as attenuate


def kernels() -> Iterator[Any]:

    modules: list[ModuleType] = [
        _block_kernels,
        _cell_kernels,
        _network_kernels,
        _segments,
        _suspicion,
        _chain_kernels,
        _decibels,
        _frame_kernels,
    ]
    modules += [_attenuation_kernels, _surface_kernels]
    for module in modules:
        yield from (item for item in vars(module).values() if hasattr(item, "nopython_signatures"))


def compiled() -> dict[str, int]:
    return {
        f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}": len(kernel.nopython_signatures)
        for kernel in kernels()
    }


def test_nothing_is_compiled_after_warming_up() -> None:
    signal.warm_up()
    margin.warm_up()
    before = compiled()
    by_name = {name.rpartition(".")[2]: count for name, count in before.items()}
    assert (
        by_name["average_blocks"] == by_name["store_db"] == by_name["find_edges"] == by_name["convolve"] == 1
    )
    assert by_name["reconstruct_frame"] == by_name["transform_frame"] == 3
    rng = np.random.default_rng(0)
    reconstructor = Reconstructor(Calibration(), samples=512, depth=256)
    thorough = Reconstructor(Calibration(), samples=512, depth=256, threads=2, remove_fixed_pattern=True)
    for dtype in (np.uint8, np.uint16, np.float32):
        raw = rng.integers(0, 255, (40, 512)).astype(dtype)
        intensity = np.empty((40, 256), dtype=np.float32)
        for writeable in (True, False):
            raw.flags.writeable = writeable
            bscan_db = reconstructor.process(raw, None, intensity)
            thorough.process(raw)
        bscan_db.flags.writeable = False
        for model in ("margin-1", "rule-1"):
            assessor = Assessor(model)
            sweep_map = SweepMap(2, 3, assessor.model)
            sweep_map.place(0, assessor.assess(bscan_db, axial_um=4.0))
            assert sweep_map.evidence.shape == (2, 3)
            Assessor(model).assess(bscan_db.copy(), axial_um=4.0, intensity=intensity)
        attenuate(intensity, 0.004)
        intensity.flags.writeable = False
        attenuate(intensity, 0.004, noise=1.0)
    assert compiled() == before
