"""What is timed is real work, and the chains that are compared do the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from octmargin.bench.kernel_rows import UNIT, Workload, kernel_rows
from octmargin.bench.kernels import CompareCpu, KernelPlan, measure_kernels_for_cpu
from octmargin.bench.plain_chain import PlainChain
from octmargin.bench.synthetic import AXIAL_UM, FULL_SCALE, synthetic_frame
from octmargin.errors import InputError, OctMarginError
from octmargin.signal import Calibration, find_surface


@pytest.fixture(scope="module")
def work() -> Workload:
    return Workload(synthetic_frame(1024, 48), depth=512, threads=2)


def test_the_synthetic_frame_shows_tissue_below_a_surface(work: Workload) -> None:
    assert work.raw.dtype == np.uint16
    assert 0 < work.raw.min() < work.raw.max() < FULL_SCALE
    surface_px = find_surface(work.bscan_db, axial_um=AXIAL_UM)
    assert np.isfinite(surface_px).mean() > 0.9
    flags = work.assess(work.rule)
    assert not flags.quality.any()


@pytest.mark.parametrize(("samples", "alines", "depth"), [(256, 3, 128), (1000, 17, 333), (2048, 40, 1024)])
def test_the_plain_chain_is_the_chain_in_double_precision(samples: int, alines: int, depth: int) -> None:
    frame = synthetic_frame(samples, alines)
    calibration = frame.calibration
    assert calibration.k_map is not None
    assert calibration.dispersion_rad is not None
    plain_db = PlainChain(calibration, samples=samples, depth=depth).process(frame.raw)
    spectra = frame.raw - frame.raw.mean(axis=0, dtype=float)
    # The cubic through four samples, by NumPy's own polynomial fit.
    first = np.clip(np.floor(calibration.k_map).astype(int) - 1, 0, samples - 4)
    vandermonde = np.linalg.inv(np.vander(np.arange(4.0), increasing=True))
    weights = (calibration.k_map - first)[:, None] ** np.arange(4) @ vandermonde
    resampled = np.einsum("ajt,jt->aj", spectra[:, first[:, None] + np.arange(4)], weights)
    window = calibration.window_over(samples)
    lines = fft.fft(resampled * window * np.exp(-1j * calibration.dispersion_rad), axis=1)[:, :depth]
    expected = np.abs(lines / (window.sum() / 2)) ** 2
    strong = expected > 1e-4 * expected.max()
    np.testing.assert_allclose(plain_db[strong], 10 * np.log10(expected[strong]), atol=0.01)


def test_chains_that_differ_are_not_timed(work: Workload) -> None:
    other = Calibration(k_map=work.chain.calibration.k_map, window="hann")
    frame = synthetic_frame(1024, 48)
    disagreeing = Workload(frame, depth=512, threads=1)
    disagreeing.plain_chain = PlainChain(other, samples=1024, depth=512)
    with pytest.raises(OctMarginError, match="differ by"):
        disagreeing.check_chains_agree()
    assert work.check_chains_agree() < 0.05


def test_every_row_can_be_called_or_says_why_not(work: Workload) -> None:
    rows = kernel_rows(work)
    assert rows[0].name == UNIT
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert (row.call is None) == bool(row.note)
        if row.call is not None:
            row.call()


def test_fftw_transforms_every_aline(work: Workload) -> None:
    pytest.importorskip("pyfftw")
    (row,) = [row for row in kernel_rows(work) if row.name.startswith("FFTW")]
    assert row.call is not None
    np.testing.assert_allclose(row.call(), fft.fft(work.spectra, axis=1), rtol=1e-4, atol=1.0)


def test_without_fftw_its_row_says_how_to_install_it(work: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (row,) = [row for row in kernel_rows(work) if row.name.startswith("FFTW")]
    assert row.call is None
    assert "pip install octmargin[bench]" in row.note


def test_a_depth_that_the_samples_do_not_give_is_refused() -> None:
    with pytest.raises(InputError, match="--depth 65"):
        KernelPlan(samples=128, depth=65)


def test_a_length_that_the_fft_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match=r"--samples 1022: .*; use 1024"):
        KernelPlan(samples=1022, depth=500)


def test_a_comparison_that_takes_too_long_is_told() -> None:
    with pytest.raises(
        OctMarginError, match="--compare-cpu avx2: not done after 0 s; ask for fewer --rounds"
    ):
        measure_kernels_for_cpu(KernelPlan(samples=128, depth=64), CompareCpu.AVX2, timeout_s=0.01)
