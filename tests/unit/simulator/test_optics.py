import numpy as np
import pytest
from numpy.polynomial import polynomial

from octmargin.errors import InputError
from octmargin_simulator.optics import ConsoleOptics, Interferometer

from .chain64 import amplitudes, half_width_px


def calibration_of(optics: ConsoleOptics) -> dict[str, object]:
    return {"k_map": optics.k_map_coefficients, "dispersion_rad": optics.dispersion_coefficients}


@pytest.mark.parametrize("samples", [512, 1000, 1024, 2048])
def test_camera_pixels_see_the_inverse_of_the_k_map(samples: int) -> None:
    optics = ConsoleOptics(samples=samples)
    x = optics.linear_index / (samples - 1)
    np.testing.assert_allclose(
        polynomial.polyval(x, optics.k_map_coefficients), np.arange(samples), rtol=0, atol=1e-9 * samples
    )


@pytest.mark.parametrize("samples", [512, 1000, 2048])
def test_fringes_are_the_sum_of_cosines_at_the_sampled_wavenumbers(samples: int) -> None:
    optics = ConsoleOptics(samples=samples)
    rng = np.random.default_rng(3)
    scatterers = (
        rng.standard_normal((3, optics.depth_px)) + 1j * rng.standard_normal((3, optics.depth_px))
    ).astype(np.complex64)
    depth = np.arange(optics.depth_px)
    phase = 2 * np.pi * np.outer(depth, optics.linear_index) / samples + optics.dispersion_at_pixels
    direct = np.stack(
        [
            (np.abs(a) * optics.sensitivity(depth)) @ np.cos(phase + np.angle(a)[:, None])
            for a in scatterers.astype(complex)
        ]
    )
    direct *= optics.source_at_pixels
    error = Interferometer(optics).fringes(scatterers) - direct
    assert np.abs(error).max() < 3e-5 * direct.std()  # -90 dB, far below the noise of the camera


def test_scatterers_deeper_than_the_optics_see_are_refused() -> None:
    optics = ConsoleOptics(samples=512)
    with pytest.raises(InputError, match="depth pixels"):
        Interferometer(optics).fringes(np.ones((1, optics.depth_px + 1), np.complex64))


@pytest.mark.parametrize("samples", [512, 1024, 2048])
@pytest.mark.parametrize("depth_share", [0.03, 0.1, 0.25])
def test_a_mirror_appears_at_its_depth(samples: int, depth_share: float) -> None:
    optics = ConsoleOptics(samples=samples)
    depth_px = samples * depth_share + 0.25
    raw = Interferometer(optics).mirror(depth_px)
    profile = amplitudes(raw, optics.level_counts, calibration_of(optics), pad=8)[0]
    peak_px = np.argmax(profile[: 4 * samples]) / 8
    assert peak_px == pytest.approx(depth_px, abs=0.125)


def test_a_mirror_beyond_zero_delay_is_sharp_in_the_upper_half_only() -> None:
    optics = ConsoleOptics()
    raw = Interferometer(optics).mirror(-300.0)
    profile = amplitudes(raw, optics.level_counts, calibration_of(optics))[0]
    assert np.argmax(profile) == 2048 - 300
    assert profile[200:400].max() < 0.5 * profile[2048 - 300]


def test_the_point_spread_reaches_the_transform_limit_only_with_the_calibration() -> None:
    optics = ConsoleOptics()
    raw = Interferometer(optics).mirror(300.0)
    shaped = np.hanning(2048) * optics.source_shape(np.arange(2048.0))
    limit = half_width_px(np.fft.fftshift(np.abs(np.fft.fft(shaped, 8 * 2048))), pad=8)
    sharp = half_width_px(
        amplitudes(raw, optics.level_counts, calibration_of(optics), pad=8)[0, :8192], pad=8
    )
    without_dispersion = calibration_of(optics) | {"dispersion_rad": [0.0]}
    blurred = half_width_px(amplitudes(raw, optics.level_counts, without_dispersion, pad=8)[0, :8192], pad=8)
    raw_width = half_width_px(amplitudes(raw, optics.level_counts, None, pad=8)[0, :8192], pad=8)
    assert sharp == pytest.approx(limit, rel=0.03)
    assert blurred > 2 * limit
    assert raw_width > 5 * limit


def test_sensitivity_falls_by_6_db_at_the_stated_depth() -> None:
    optics = ConsoleOptics(rolloff_6db_mm=2.0)
    shallow, deep = (
        amplitudes(Interferometer(optics).mirror(d), optics.level_counts, calibration_of(optics))[
            0, :1024
        ].max()
        for d in (10, 500)
    )
    assert 20 * np.log10(shallow / deep) == pytest.approx(6.02, abs=0.1)


def test_the_camera_adds_its_stated_noise_to_the_reference() -> None:
    optics = ConsoleOptics(samples=512)
    out = np.empty((4000, 512), np.uint16)
    Interferometer(optics).detect(np.zeros((4000, 512), np.float32), np.random.default_rng(5), out)
    np.testing.assert_allclose(out.mean(0), optics.level_counts, atol=6 * optics.noise_counts.max() / 63)
    expected = np.sqrt(optics.noise_counts**2 + 1 / 12)  # rounding to whole counts adds 1/12
    np.testing.assert_allclose(out.std(0), expected, rtol=0.08)


def test_counts_clip_at_full_scale_and_at_zero() -> None:
    optics = ConsoleOptics(samples=512)
    out = Interferometer(optics).mirror(60.0, amplitude_counts=20_000.0)
    assert out.max() == optics.full_scale == 4095
    assert out.min() == 0
    fringe = 20_000.0 * np.cos(2 * np.pi * 60 * optics.linear_index / 512 + optics.dispersion_at_pixels)
    unclipped = optics.level_counts + fringe * optics.source_at_pixels * optics.sensitivity(60.0)
    np.testing.assert_array_equal(out[0] == 4095, unclipped >= 4094.5)


def test_homogeneous_tissue_is_fully_developed_speckle_at_the_promised_signal_to_noise_ratio() -> None:
    optics = ConsoleOptics(samples=1024, rolloff_6db_mm=1e6)
    amplitude = np.full((1500, optics.depth_px), optics.amplitude_for_snr(30.0), np.float32)
    raw = np.empty((1500, 1024), np.uint16)
    Interferometer(optics).expose(amplitude, np.random.default_rng(11), raw)
    intensity = amplitudes(raw, optics.level_counts, calibration_of(optics)) ** 2
    tissue = intensity[:, 40:280]
    Interferometer(optics).expose(np.zeros_like(amplitude), np.random.default_rng(12), raw)
    noise = amplitudes(raw, optics.level_counts, calibration_of(optics))[:, 40:280] ** 2
    assert (tissue.std(0) / tissue.mean(0)).mean() == pytest.approx(1.0, abs=0.05)
    assert 10 * np.log10(tissue.mean() / noise.mean()) == pytest.approx(30.0, abs=1.0)


def test_an_a_line_that_ends_a_batch_is_no_different() -> None:
    optics = ConsoleOptics(samples=512)
    amplitude = np.full((45, optics.depth_px), 5.0, np.float32)
    raw = np.empty((45, 512), np.uint16)
    Interferometer(optics).expose(amplitude, np.random.default_rng(2), raw)
    spread = (raw - optics.level_counts)[:, 100:400].std(axis=1)
    assert spread.min() > 0.5 * spread.max()
