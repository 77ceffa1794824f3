"""The chain against an independent float64 reference: explicit Lagrange cubics, a DFT matrix, log10."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, lagrange
from scipy.signal import get_window

from octmargin.errors import CalibrationError, InputError
from octmargin.signal import Calibration, Reconstructor


def lagrange_resample(line: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four-point Lagrange interpolation by its definition, one product at a time."""
    resampled = np.zeros(len(positions))
    for j, position in enumerate(positions):
        first = min(max(int(np.floor(position)) - 1, 0), len(line) - 4)
        for a in range(first, first + 4):
            others = [b for b in range(first, first + 4) if b != a]
            resampled[j] += line[a] * np.prod([(position - b) / (a - b) for b in others])
    return resampled


def reference_intensity(raw: NDArray[Any], calibration: Calibration, depth: int) -> NDArray[np.float64]:
    spectra = raw.astype(np.float64)
    samples = raw.shape[1]
    background = spectra.mean(axis=0) if calibration.background is None else calibration.background
    spectra = spectra - background
    if calibration.k_map is not None:
        spectra = np.array([lagrange_resample(line, calibration.k_map) for line in spectra])
    window = calibration.window
    weights = get_window(window, samples, fftbins=False) if isinstance(window, str) else window
    phase = np.zeros(samples) if calibration.dispersion_rad is None else calibration.dispersion_rad
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(samples), np.arange(depth)) / samples)
    return np.abs((spectra * weights * np.exp(-1j * phase)) @ kernel * 2 / weights.sum()) ** 2


def console_calibration(samples: int, **others: Any) -> Calibration:
    x = np.linspace(0, 1, samples)
    return Calibration(
        k_map=(samples - 1) * (x + 0.12 * x * (1 - x)),
        dispersion_rad=20 * (x - 0.5) ** 2 - 9 * (x - 0.5) ** 3,
        **others,
    )


def test_the_references_interpolation_is_lagranges() -> None:
    line = np.array([3.0, -1.0, 4.0, 1.0])
    assert lagrange_resample(line, np.array([1.3]))[0] == pytest.approx(lagrange(range(4), line)(1.3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("alines", "samples", "depth"),
    [
        (1, 512, 256),
        (3, 1024, 640),
        (2, 2048, 1024),
        (2, 1536, 700),
        (2, 4096, 2048),
        (17, 1000, 499),
        (5, 225, 100),
        (33, 64, 32),
        (4, 375, 1),
        (16, 20, 10),
    ],
)
def test_agrees_with_the_float64_reference(
    alines: int, samples: int, depth: int, dtype: type[np.generic]
) -> None:
    rng = np.random.default_rng(samples + alines)
    depth = min(depth, samples // 2)
    raw = rng.integers(0, 255, (alines, samples)).astype(dtype)
    calibration = console_calibration(samples, background=rng.uniform(100, 150, samples))
    intensity = np.empty((alines, depth), dtype=np.float32)
    bscan_db = Reconstructor(calibration, samples=samples, depth=depth).process(raw, intensity=intensity)
    expected = reference_intensity(raw, calibration, depth)
    np.testing.assert_allclose(intensity, expected, rtol=2e-4, atol=2e-6 * expected.max())
    bright = expected > 1e-4 * expected.max()
    np.testing.assert_allclose(bscan_db[bright], 10 * np.log10(expected[bright]), atol=5e-3)


def test_without_a_background_the_mean_spectrum_of_the_frame_is_taken() -> None:
    raw = np.random.default_rng(1).integers(0, 4095, (70, 128)).astype(np.uint16)
    intensity = np.empty((70, 64), dtype=np.float32)
    Reconstructor(Calibration(), samples=128, depth=64).process(raw, intensity=intensity)
    np.testing.assert_allclose(intensity, reference_intensity(raw, Calibration(), 64), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("samples", [500, 1022, 1021])
def test_other_lengths_are_resampled_and_keep_the_depth_pixel(samples: int) -> None:
    x = np.arange(samples) / samples
    raw = np.stack([100 * np.cos(2 * np.pi * z * x) for z in (10, 40, 90)]).astype(np.float32)
    calibration = Calibration(background=np.zeros(samples))
    intensity = np.empty((3, samples // 2), np.float32)
    bscan_db = Reconstructor(calibration, samples=samples, depth=samples // 2).process(raw, None, intensity)
    assert np.argmax(bscan_db, axis=1).tolist() == [10, 40, 90]
    expected = reference_intensity(raw, calibration, samples // 2)
    bright = expected > 1e-4 * expected.max()
    np.testing.assert_allclose(10 * np.log10(intensity[bright]), 10 * np.log10(expected[bright]), atol=0.1)


def test_errors_against_float64_stay_below_a_fiftieth_of_a_decibel_over_60_db() -> None:
    rng = np.random.default_rng(3)
    samples, alines = 2048, 32
    x = np.linspace(0, 1, samples)
    fringes = sum(
        amplitude * np.cos(2 * np.pi * z * x + rng.uniform(0, 6, (alines, 1)))
        for amplitude, z in zip(np.geomspace(3000, 3, 40), rng.uniform(20, 900, 40), strict=True)
    )
    raw = np.clip(30000 + fringes + rng.normal(0, 4, (alines, samples)), 0, 65535).astype(np.uint16)
    calibration = console_calibration(samples, background=np.full(samples, 30000.0))
    bscan_db = Reconstructor(calibration, samples=samples, depth=1024).process(raw)
    expected_db = 10 * np.log10(reference_intensity(raw, calibration, 1024))
    seen = expected_db > expected_db.max() - 60
    assert np.abs(bscan_db - expected_db)[seen].max() < 0.02


@pytest.mark.parametrize("reversed_map", [False, True])
def test_four_taps_come_close_to_a_cubic_spline_where_fringes_are_well_sampled(reversed_map: bool) -> None:
    samples, depth_px = 1024, 100
    k_map = console_calibration(samples).k_map
    assert k_map is not None
    k_map = k_map[::-1] if reversed_map else k_map
    line = np.cos(2 * np.pi * depth_px * np.arange(samples) / samples)
    calibration = Calibration(k_map=k_map, background=np.zeros(samples))
    bscan_db = Reconstructor(calibration, samples=samples, depth=512).process(line[None].astype(np.float32))
    spline = CubicSpline(np.arange(samples), line)(k_map) * get_window("hann", samples, fftbins=False)
    expected = 20 * np.log10(np.abs(np.fft.fft(spline)[:512]) * 4 / (samples - 1))
    seen = expected > -30
    np.testing.assert_allclose(bscan_db[0][seen], expected[seen], atol=0.1)


def test_0_db_is_a_fringe_of_one_count() -> None:
    line = np.cos(2 * np.pi * 40 * np.arange(512) / 512).astype(np.float32)
    calibration = Calibration(background=np.zeros(512))
    bscan_db = Reconstructor(calibration, samples=512, depth=256).process(np.stack([line, 100 * line]))
    assert np.argmax(bscan_db, axis=1).tolist() == [40, 40]
    assert bscan_db[:, 40] == pytest.approx([0.0, 40.0], abs=1e-3)


@pytest.mark.parametrize(
    ("interpolation", "worst_db"), [("linear", -12.0), ("cubic", -24.0), ("lanczos", -38.0)]
)
def test_more_taps_leave_less_of_a_deep_fringe_elsewhere(interpolation: str, worst_db: float) -> None:
    samples = 1024
    calibration = console_calibration(samples, background=np.zeros(samples))
    assert calibration.k_map is not None
    wavenumber_of_pixel = CubicSpline(calibration.k_map, np.arange(samples))(np.arange(samples))
    line = np.cos(2 * np.pi * 300 * wavenumber_of_pixel / samples)
    flat = Calibration(k_map=calibration.k_map, background=np.zeros(samples), window="hann")
    reconstructor = Reconstructor(flat, samples=samples, depth=512, interpolation=interpolation)
    bscan_db = reconstructor.process(line[None].astype(np.float32))[0]
    assert np.argmax(bscan_db) == 300
    assert np.delete(bscan_db, range(290, 311)).max() - bscan_db[300] < worst_db


@pytest.mark.parametrize("count", [0, 1000, 65535])
def test_constant_lines_are_at_the_floor_and_never_nan(count: int) -> None:
    raw = np.full((20, 256), count, dtype=np.uint16)
    bscan_db = Reconstructor(Calibration(), samples=256, depth=128).process(raw)
    assert (bscan_db == -100.0).all()


def test_a_saturated_line_among_others_is_finite() -> None:
    raw = np.random.default_rng(0).integers(0, 65535, (20, 256)).astype(np.uint16)
    raw[7] = 65535
    assert np.isfinite(Reconstructor(Calibration(), samples=256, depth=128).process(raw)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_costs_its_own_line_only(bad: float) -> None:
    raw = np.random.default_rng(0).normal(100, 10, (40, 256)).astype(np.float32)
    sound = np.delete(raw, 5, axis=0)
    raw[5, 17] = bad
    bscan_db = Reconstructor(Calibration(), samples=256, depth=128).process(raw)
    assert np.isnan(bscan_db[5]).all()
    expected = Reconstructor(Calibration(), samples=256, depth=128).process(sound)
    np.testing.assert_allclose(np.delete(bscan_db, 5, axis=0), expected, atol=0.05)


def test_writes_into_the_arrays_it_is_given_and_takes_any_number_of_lines() -> None:
    rng = np.random.default_rng(0)
    reconstructor = Reconstructor(console_calibration(512), samples=512, depth=200, threads=2)
    for alines in (100, 7, 130):
        raw = rng.integers(0, 4095, (alines, 512)).astype(np.uint16)
        raw.flags.writeable = False
        out, intensity = (np.empty((alines, 200), dtype=np.float32) for _ in range(2))
        assert reconstructor.process(raw, out, intensity) is out
        np.testing.assert_allclose(out, 10 * np.log10(intensity.astype(np.float64)), atol=1e-3)
        single = Reconstructor(console_calibration(512), samples=512, depth=200).process(raw[:, ::1])
        np.testing.assert_array_equal(out, single)


def test_a_strided_frame_gives_what_its_copy_gives() -> None:
    raw = np.random.default_rng(0).integers(0, 4095, (10, 512)).astype(np.uint16)
    reconstructor = Reconstructor(Calibration(), samples=256, depth=128)
    np.testing.assert_array_equal(
        reconstructor.process(raw[:, ::2]), reconstructor.process(raw[:, ::2].copy())
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((4, 100), np.uint16), r"expected shape \(alines, 128\), got \(4, 100\)"),
        (np.zeros(128, np.uint16), r"expected shape \(alines, 128\), got \(128,\)"),
        (np.zeros((0, 128), np.uint16), r"got \(0, 128\)"),
        (np.zeros((4, 128), np.int32), "int32; give a uint8, uint16 or float32"),
        (np.zeros((4, 128), ">u2"), "give a uint8, uint16 or float32"),
        ([[1, 2]], "list; give a uint8"),
    ],
)
def test_says_what_is_wrong_with_the_raw_spectra(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reconstructor(Calibration(), samples=128, depth=64).process(raw)


def test_says_what_is_wrong_with_a_target() -> None:
    reconstructor, raw = Reconstructor(Calibration(), samples=128, depth=64), np.zeros((4, 128), np.uint16)
    with pytest.raises(InputError, match=r"out: expected .* \(4, 64\), got float32 \(4, 63\)"):
        reconstructor.process(raw, np.empty((4, 63), np.float32))
    with pytest.raises(InputError, match=r"intensity: expected .* got float64"):
        reconstructor.process(raw, intensity=np.empty((4, 64)))  # type: ignore[arg-type]
    frozen = np.empty((4, 64), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(InputError, match="out is read-only"):
        reconstructor.process(raw, frozen)


def test_says_what_is_wrong_with_its_configuration() -> None:
    with pytest.raises(InputError, match="depth is 65; 128 samples give depths from 1 to 64"):
        Reconstructor(Calibration(), samples=128, depth=65)
    with pytest.raises(InputError, match="threads is 0"):
        Reconstructor(Calibration(), samples=128, depth=64, threads=0)
    with pytest.raises(CalibrationError, match="calibration is for 512 samples, the spectra have 128"):
        Reconstructor(console_calibration(512), samples=128, depth=64)
    with pytest.raises(InputError, match="window's values sum to 0"):
        Reconstructor(Calibration(window=np.zeros(128)), samples=128, depth=64)


def test_packed_counts_give_what_unpacked_ones_give() -> None:
    counts = np.random.default_rng(0).integers(0, 4096, (20, 256)).astype(np.uint16)
    bits = (counts[..., None] >> np.arange(12)) & 1
    packed = np.packbits(bits.reshape(20, -1).astype(np.uint8), axis=1, bitorder="little")
    assert packed.shape == (20, 384)
    calibration = console_calibration(256)
    expected = Reconstructor(calibration, samples=256, depth=128).process(counts)
    reconstructor = Reconstructor(calibration, samples=256, depth=128, raw_format="mono12p")
    np.testing.assert_array_equal(reconstructor.process(packed), expected)
    with pytest.raises(InputError, match=r"expected shape \(alines, 384\), got \(20, 256\)"):
        reconstructor.process(counts.astype(np.uint8))


def test_neighbouring_lines_and_bscans_are_averaged_in_intensity() -> None:
    raw = np.random.default_rng(0).integers(0, 4095, (3, 24, 256)).astype(np.uint16)
    calibration = console_calibration(256, background=np.full(256, 2000.0))
    reconstructor = Reconstructor(calibration, samples=256, depth=99, average_alines=4, average_bscans=3)
    intensity = np.empty((6, 99), np.float32)
    bscan_db = reconstructor.process(raw, intensity=intensity)
    single = reference_intensity(raw.reshape(72, 256), calibration, 99)
    expected = single.reshape(3, 6, 4, 99).mean(axis=(0, 2))
    np.testing.assert_allclose(intensity, expected, rtol=1e-3)
    np.testing.assert_allclose(bscan_db, 10 * np.log10(expected), atol=5e-3)
    np.testing.assert_array_equal(reconstructor.process(raw), bscan_db)
    with pytest.raises(InputError, match="23 A-lines cannot be averaged by 4; give a multiple"):
        reconstructor.process(raw[:, :23])


def test_a_running_background_follows_the_frames_means() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 4095, (32, 128)).astype(np.uint16) for _ in range(2))
    running = Reconstructor(Calibration(), samples=128, depth=64, running_mean_frames=4)
    running.process(first)
    mean = 0.75 * first.mean(axis=0) + 0.25 * second.mean(axis=0)
    fixed = Reconstructor(Calibration(background=mean), samples=128, depth=64)
    np.testing.assert_allclose(running.process(second), fixed.process(second), atol=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("remove_fixed_pattern", [False, True])
def test_a_running_background_is_the_same_in_any_number_of_threads(
    dtype: type, threads: int, remove_fixed_pattern: bool
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 100, 128)).astype(dtype)
    running = Reconstructor(
        Calibration(),
        samples=128,
        depth=64,
        threads=threads,
        running_mean_frames=3,
        remove_fixed_pattern=remove_fixed_pattern,
    )
    background = frames[0].mean(axis=0, dtype=np.float64)
    for frame in frames:
        background += (frame.mean(axis=0, dtype=np.float64) - background) / 3
        fixed = Reconstructor(
            Calibration(background=background),
            samples=128,
            depth=64,
            remove_fixed_pattern=remove_fixed_pattern,
        )
        np.testing.assert_allclose(running.process(frame), fixed.process(frame), atol=0.05)


def test_a_frame_without_a_finite_line_leaves_the_running_background_alone() -> None:
    first, second = np.random.default_rng(0).uniform(0, 4095, (2, 32, 128)).astype(np.float32)
    nothing = np.full((32, 128), np.nan, dtype=np.float32)

    def follow(*frames: NDArray[np.float32]) -> NDArray[np.float32]:
        running = Reconstructor(Calibration(), samples=128, depth=64, running_mean_frames=4)
        return [running.process(frame) for frame in frames][-1]

    np.testing.assert_array_equal(follow(nothing, first, nothing, second), follow(first, second))


def test_the_fixed_pattern_goes_and_tissue_over_most_of_the_frame_stays() -> None:
    rng = np.random.default_rng(0)
    samples, alines = 512, 256
    x = np.arange(samples) / samples
    pattern = 50 * np.cos(2 * np.pi * 60 * x + 1.0) + 30 * np.cos(2 * np.pi * 120 * x)
    tissue = 20 * np.cos(2 * np.pi * 120 * x + rng.uniform(0, 6, (alines, 1)))
    # Six eighths of the frame hold tissue at the depth of a line of the pattern; the rest holds noise only.
    tissue[96:160] = 0
    raw = (1000 + pattern + tissue + rng.normal(0, 1, (alines, samples))).astype(np.float32)
    dark = Calibration(background=np.full(samples, 1000.0))
    with_pattern = Reconstructor(dark, samples=samples, depth=200).process(raw)
    without = Reconstructor(dark, samples=samples, depth=200, remove_fixed_pattern=True).process(raw)
    assert with_pattern[:, 60].min() > 33
    assert without[:, 60].mean() < 0
    tissue_lines = np.r_[0:96, 160:256]
    assert np.abs(without[tissue_lines, 120] - 20 * np.log10(20)).mean() < 1
    assert without[96:160, 120].mean() < 0
    with pytest.raises(InputError, match="15 A-lines are too few to find a fixed pattern"):
        Reconstructor(dark, samples=samples, depth=200, remove_fixed_pattern=True).process(raw[:15])


def test_a_line_that_is_not_finite_has_no_say_in_the_fixed_pattern() -> None:
    rng = np.random.default_rng(0)
    raw = (100 * np.cos(np.arange(256)) + rng.normal(0, 1, (64, 256))).astype(np.float32)
    raw[3, 9] = np.nan
    calibration = Calibration(background=np.zeros(256))
    bscan_db = Reconstructor(calibration, samples=256, depth=128, remove_fixed_pattern=True).process(raw)
    assert np.isnan(bscan_db[3]).all()
    assert np.isfinite(np.delete(bscan_db, 3, axis=0)).all()


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("alines", [1, 16, 31, 100])
def test_threads_give_what_one_thread_gives(threads: int, alines: int) -> None:
    raw = np.random.default_rng(0).integers(0, 4095, (alines, 512)).astype(np.uint16)
    calibration = console_calibration(512)
    expected = Reconstructor(calibration, samples=512, depth=250).process(raw)
    many = Reconstructor(calibration, samples=512, depth=250, threads=threads)
    np.testing.assert_array_equal(many.process(raw), expected)


def test_after_the_first_frame_no_array_is_allocated() -> None:
    raw = np.random.default_rng(0).integers(0, 4095, (64, 512)).astype(np.uint16)
    out, intensity = (np.empty((64, 256), np.float32) for _ in range(2))
    reconstructor = Reconstructor(console_calibration(512), samples=512, depth=256)
    reconstructor.process(raw, out, intensity)
    tracemalloc.start()
    try:
        reconstructor.process(raw, out, intensity)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4096
