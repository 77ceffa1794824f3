"""The simulated optics against theory."""

from typing import Any

import numpy as np
import pytest
from numpy.polynomial import polynomial

from octmargin.errors import InputError
from octmargin_simulator.optics import ConsoleOptics, Interferometer, Reflections, returned_amplitude

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
    optics = ConsoleOptics(samples=samples, autocorrelation=False)
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
    optics = ConsoleOptics(samples=512, autocorrelation=False)
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


def intensities(optics: ConsoleOptics, raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(amplitudes(raw, optics.level_counts, calibration_of(optics))) ** 2


def exposed(
    optics: ConsoleOptics,
    amplitude_counts: float,
    *,
    alines: int,
    spacing_um: float | None = None,
    reflections: Reflections | None = None,
) -> np.ndarray[Any, Any]:
    amplitude = np.full((alines, optics.depth_px), amplitude_counts, np.float32)
    raw = np.empty((alines, optics.samples), np.uint16)
    Interferometer(optics, spacing_um).expose(amplitude, np.random.default_rng(21), raw, reflections)
    return raw


def test_the_camera_sees_the_square_of_the_summed_fields() -> None:
    optics = ConsoleOptics(samples=512, reference_counts=50.0)
    depth_px = np.array([40, 52, 90])
    counts = np.array([20.0, 12.0, 6.0])
    scatterers = np.zeros((1, optics.depth_px), np.complex64)
    scatterers[0, depth_px] = counts
    phase = 2 * np.pi * np.outer(depth_px, optics.linear_index) / 512 + optics.dispersion_at_pixels
    # Fields in units of the reference arm's: a reflector's fringe of amplitude a has a field of a / 2.
    sample_field = (counts * optics.sensitivity(depth_px) / (2 * 50.0)) @ np.exp(1j * phase)
    seen = 50.0 * optics.source_at_pixels * (np.abs(1 + sample_field) ** 2 - 1)
    np.testing.assert_allclose(Interferometer(optics).fringes(scatterers)[0], seen, rtol=0, atol=2e-3)


def test_reflections_that_interfere_with_each_other_appear_at_their_distance() -> None:
    optics = ConsoleOptics(autocorrelation=True, dispersion_2_rad=0.0, dispersion_3_rad=0.0)
    scatterers = np.zeros((1, optics.depth_px), np.complex64)
    scatterers[0, [300, 350]] = 900.0
    fringes = Interferometer(optics).fringes(scatterers)
    profile = amplitudes(fringes, np.zeros(optics.samples), calibration_of(optics))[0]
    assert 20 + np.argmax(profile[20:250]) == 50


@pytest.mark.parametrize("spacing_um", [4.0, 10.0, 16.0])
def test_speckle_of_neighbouring_a_lines_is_alike_as_far_as_the_beam_is_wide(spacing_um: float) -> None:
    optics = ConsoleOptics(samples=512, beam_radius_um=12.0, focus_mm=0.3, rolloff_6db_mm=1e6)
    intensity = intensities(optics, exposed(optics, 20.0, alines=6000, spacing_um=spacing_um))[:, 65:85]
    deviation = intensity - intensity.mean(axis=0)
    for lag in (1, 2, 3):
        seen = (deviation[lag:] * deviation[:-lag]).mean() / (deviation**2).mean()
        assert seen == pytest.approx(np.exp(-2 * (lag * spacing_um / 12.0) ** 2), abs=0.04)
    assert (intensity.std(axis=0) / intensity.mean(axis=0)).mean() == pytest.approx(1.0, abs=0.05)


def test_a_line_spacing_does_not_change_the_brightness_of_tissue() -> None:
    optics = ConsoleOptics(samples=512, beam_radius_um=12.0, rolloff_6db_mm=1e6)
    wide, narrow = (
        intensities(optics, exposed(optics, 20.0, alines=4000, spacing_um=um))[:, 30:140].mean()
        for um in (100.0, 6.0)
    )
    assert narrow == pytest.approx(wide, rel=0.03)


def test_tissue_out_of_focus_is_darker_by_the_confocal_function() -> None:
    optics = ConsoleOptics(samples=1024, beam_radius_um=8.0, focus_mm=0.4, rolloff_6db_mm=1e6)
    profile = intensities(optics, exposed(optics, 10.0, alines=6000)).mean(axis=0)
    in_focus, below = profile[95:105].mean(), profile[295:305].mean()
    rayleigh_mm = 1.38 * np.pi * 0.008**2 / 0.0013
    expected = 1 / (1 + (0.8 / (2 * rayleigh_mm)) ** 2)
    assert below / in_focus == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("mu", [1.0, 4.0, 8.0])
def test_light_scattered_once_falls_by_beer_lambert(mu: float) -> None:
    attenuation = np.full((1, 300), mu, np.float32)
    amplitude = returned_amplitude(attenuation, np.full((1, 300), 2.0, np.float32), axial_um=4.0)
    depth_mm = (np.arange(300) + 0.5) * 0.004
    np.testing.assert_allclose(amplitude[0] ** 2, 2.0 * np.exp(-2 * mu * depth_mm), rtol=1e-4)


def test_light_scattered_often_adds_the_tail_of_the_huygens_fresnel_model() -> None:
    mu = np.zeros((1, 400), np.float32)
    mu[:, 50:] = 5.0
    amplitude = returned_amplitude(
        mu, np.ones_like(mu), axial_um=4.0, scattering_angle_rad=0.35, beam_radius_um=10.0
    )
    depth_mm = (np.arange(350) + 0.5) * 0.004
    tau = 5.0 * depth_mm
    ratio = 1 + (0.35 * np.arange(350) * 0.004 / 1.38) ** 2 * tau / (3 * 0.010**2)
    expected = (
        np.exp(-2 * tau)
        + 4 * np.exp(-tau) * (1 - np.exp(-tau)) / (1 + ratio)
        + (1 - np.exp(-tau)) ** 2 / ratio
    )
    np.testing.assert_allclose(amplitude[0, :50], 1.0, rtol=1e-6)
    np.testing.assert_allclose(amplitude[0, 50:] ** 2, expected, rtol=2e-3)
    assert expected[-1] > 30 * np.exp(-2 * tau[-1])


def test_noise_of_the_source_adds_to_that_of_the_camera() -> None:
    optics = ConsoleOptics(samples=512, excess_noise=0.01, power_fluctuation=0.005, pixel_gain_spread=0.02)
    out = np.empty((4000, 512), np.uint16)
    Interferometer(optics).detect(np.zeros((4000, 512), np.float32), np.random.default_rng(5), out)
    light = optics.reference_light_counts
    expected = np.sqrt(light / 45 + (0.01 * light) ** 2 + 1.5**2 + (0.005 * light) ** 2 + 1 / 12)
    np.testing.assert_allclose(out.std(axis=0), expected, rtol=0.08)
    bright = light > 0.5 * light.max()
    power = (out[:, bright] / light[bright]).mean(axis=1)
    assert power.std() == pytest.approx(0.005, rel=0.1)
    relative = light[bright] / (2300.0 * optics.source_at_pixels[bright])
    assert relative.std() == pytest.approx(0.02, rel=0.2)


def test_an_etalon_is_a_line_at_one_depth_in_every_a_line() -> None:
    optics = ConsoleOptics(etalons=((200.0, 4.0),))
    without = ConsoleOptics()
    raw = exposed(optics, 0.0, alines=64)
    # Seen where only the reference arm is subtracted, as a console does whose etalons came later.
    flat = {"k_map": optics.k_map_coefficients, "dispersion_rad": [0.0]}
    profile = (amplitudes(raw, without.level_counts, flat) ** 2).mean(axis=0)
    assert 100 + np.argmax(profile[100:600]) == 200
    assert 10 * np.log10(profile[200] / np.median(profile[400:600])) > 15


def test_a_reflecting_surface_stands_at_its_depth_and_may_saturate() -> None:
    optics = ConsoleOptics(samples=1024)
    depth_px = np.linspace(60.0, 80.0, 40, dtype=np.float32)[None, :]
    depth_px[:, 30:] = np.nan
    counts = np.full_like(depth_px, 1000.0)
    counts[:, :10] = 3000.0
    raw = exposed(optics, 0.2, alines=40, reflections=Reflections(depth_px, counts))
    assert (raw[:10].max(axis=1) == optics.full_scale).all()
    assert raw[10:].max() < optics.full_scale
    profile = intensities(optics, raw)[:, 20:200]
    np.testing.assert_allclose(20 + np.argmax(profile[10:30], axis=1), np.rint(depth_px[0, 10:30]), atol=1)
    assert profile[30:].max() < 1e-3 * profile[10:30].max()
