from itertools import pairwise

import numpy as np
import pytest

from octmargin.errors import InputError
from octmargin.frames import FACES, PixelFormat
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.optics import ConsoleOptics, Interferometer
from octmargin_simulator.phantom import LayeredPhantom
from octmargin_simulator.phantom.layers import Specimen, scattering_amplitude
from octmargin_simulator.phantom.priors import PhantomPriors, Tissue, TissuePrior
from octmargin_simulator.source import FrameSource

from .chain64 import amplitudes

LAYERS = (Tissue.ADIPOSE, Tissue.STROMA, Tissue.TUMOUR)


def one_face(**changes: object) -> LayeredPhantom:
    arguments: dict[str, object] = {"samples": 512, "alines": 40, "frames": 2, "faces": ("lateral",)}
    return LayeredPhantom(**(arguments | changes))  # type: ignore[arg-type]


def test_it_is_a_frame_source_that_says_it_is_synthetic(phantom: LayeredPhantom) -> None:
    source: FrameSource = phantom
    assert source.synthetic
    assert "synthetic" in source.name
    assert source.faces == FACES
    assert source.pixel_format is PixelFormat.MONO12


def test_frames_are_read_only_12_bit_spectra(phantom: LayeredPhantom) -> None:
    spectra = phantom.frame("medial", 3)
    assert spectra.shape == (64, 1024)
    assert spectra.dtype == np.uint16
    assert spectra.flags.c_contiguous
    assert not spectra.flags.writeable
    assert 2000 < spectra.max() < 4095


def test_tissue_does_not_saturate_the_camera(phantom: LayeredPhantom) -> None:
    assert max(phantom.frame(f, i).max() for f in FACES for i in range(8)) < 4095


def test_the_factory_calibration_is_that_of_the_optics(phantom: LayeredPhantom) -> None:
    calibration = phantom.factory_calibration
    assert calibration["axial_um"] == 4.0
    x = np.arange(1024) / 1023
    k_map = np.polynomial.polynomial.polyval(x, calibration["k_map"])
    np.testing.assert_allclose(
        np.interp(k_map, np.arange(1024), phantom.optics.linear_index), np.arange(1024), atol=0.01
    )
    assert len(calibration["dispersion_rad"]) == 4


@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_exactly_one_face_is_suspicious_by_default(seed: int) -> None:
    phantom = LayeredPhantom(seed, samples=512, alines=16, frames=8)
    assert sorted(phantom.truth.values()) == ["clear"] * 5 + ["suspicious"]


def test_the_seed_decides_which_face() -> None:
    assert len({Specimen(seed).choose_face(FACES) for seed in range(40)}) == 6


def test_tumour_is_on_the_faces_that_were_named() -> None:
    phantom = LayeredPhantom(samples=512, alines=16, frames=4, tumour_faces=("medial", "anterior"))
    assert {f for f, truth in phantom.truth.items() if truth == "suspicious"} == {"medial", "anterior"}
    assert set(one_face(tumour_faces=()).truth.values()) == {"clear"}


def test_the_truth_map_is_where_the_ellipsoids_lie_within_reach(phantom: LayeredPhantom) -> None:
    for face, truth in phantom.truth.items():
        expected = np.zeros((8, 64), bool)
        for frame in range(8):
            for aline in range(64):
                x_mm, y_mm = (aline + 0.5) * 12.8 / 64, (frame + 0.5) * 8.0 / 8
                for t in phantom.geometry[face].tumours:
                    z_mm = np.linspace(0, 0.3, 301)
                    inside = (
                        ((x_mm - t.x_mm) / t.half_x_mm) ** 2
                        + ((y_mm - t.y_mm) / t.half_y_mm) ** 2
                        + ((z_mm - t.depth_mm) / t.half_depth_mm) ** 2
                    ) < 1
                    expected[frame, aline] |= bool(inside.any())
        assert np.count_nonzero(phantom.truth_map(face) != expected) <= 1  # the reference has 1 um steps
        assert expected.any() == (truth == "suspicious")


@pytest.mark.parametrize("seed", range(6))
def test_tumours_surface_are_millimetres_wide_and_up_to_a_millimetre_deep(seed: int) -> None:
    grid = ScanGrid(alines=64, frames=32, depth_px=655, width_mm=12.8, height_mm=8.0, axial_um=4.0)
    face = Specimen(seed).face("superior", grid, tumour=True)
    surfacing_mm = (face.tumour_top_mm == 0).any(axis=0).any(axis=0).sum() * 12.8 / 64
    assert surfacing_mm > 1.5
    assert 0.6 <= np.nanmax(face.tumour_bottom_mm) <= 1.0


@pytest.mark.parametrize("seed", range(6))
def test_surface_and_layers_keep_their_bounds(seed: int) -> None:
    grid = ScanGrid(alines=64, frames=32, depth_px=655, width_mm=12.8, height_mm=8.0, axial_um=4.0)
    face = Specimen(seed).face("inferior", grid, tumour=False)
    assert face.surface_mm.min() >= 0.1
    assert face.surface_mm.max() <= 0.4
    for upper, lower in pairwise([np.zeros_like(face.surface_mm), *face.boundaries_mm]):
        assert (lower - upper).min() >= 0.299
        assert (lower - upper).max() <= 0.801


def test_depth_pixels_are_labelled_by_the_geometry(phantom: LayeredPhantom) -> None:
    suspicious = next(f for f, truth in phantom.truth.items() if truth == "suspicious")
    face = phantom.geometry[suspicious]
    frame = int(phantom.truth_map(suspicious).sum(axis=1).argmax())
    labels = face.tissue(frame)
    z_mm = np.arange(labels.shape[1]) * 0.004 - face.surface_mm[frame][:, None].astype(np.float64)
    layer = (z_mm[None] >= face.boundaries_mm[:, frame, :, None]).sum(axis=0)
    expected = np.where(layer % 2 == 0, face.first_layer, 3 - face.first_layer)
    tumour = (z_mm >= face.tumour_top_mm[:, frame, :, None]) & (
        z_mm < face.tumour_bottom_mm[:, frame, :, None]
    )
    expected[tumour.any(axis=0)] = Tissue.TUMOUR
    expected[z_mm < 0] = Tissue.AIR
    assert np.mean(labels != expected) < 1e-3  # single and double precision part at a boundary
    assert set(np.unique(labels)) == set(Tissue)


@pytest.mark.parametrize("tissue", LAYERS)
def test_intensity_falls_by_beer_lambert_in_every_tissue(tissue: Tissue) -> None:
    optics = ConsoleOptics(rolloff_6db_mm=1e6)
    specimen = Specimen(7, PhantomPriors(specimen_variation=0.0))
    labels = np.full((1500, optics.depth_px), tissue, np.uint8)
    labels[:, :50] = Tissue.AIR
    stroma = optics.amplitude_for_snr(38.0)
    raw = np.empty((1500, 2048), np.uint16)
    amplitude = scattering_amplitude(labels, specimen, stroma, optics.axial_um)
    Interferometer(optics).expose(amplitude, np.random.default_rng(1), raw)
    calibration = {"k_map": optics.k_map_coefficients, "dispersion_rad": optics.dispersion_coefficients}
    intensity = (amplitudes(raw, optics.level_counts, calibration) ** 2).mean(axis=0)
    intensity -= intensity[750:950].mean()
    depth_mm = (np.arange(60, 120) - 50) * 0.004
    slope, log_surface = np.polyfit(depth_mm, np.log(intensity[60:120]), 1)
    prior = specimen.priors.tissues[tissue]
    assert -slope / 2 == pytest.approx(prior.attenuation_per_mm, rel=0.08, abs=0.1)
    window = np.hanning(2048) * optics.source_shape(np.arange(2048.0))
    nominal_stroma = stroma**2 / 4 * 2048 * np.sum(window**2)
    assert 10 * (log_surface - np.log(nominal_stroma)) / np.log(10) == pytest.approx(
        prior.backscatter_db, abs=0.7
    )


def test_light_is_lost_in_every_layer_above() -> None:
    specimen = Specimen(7)
    labels = np.array([[0, 0, 2, 2, 2, 1, 1, 3]], np.uint8)
    mu, backscatter = (
        specimen.attenuation_per_mm.astype(np.float64)[labels[0]],
        specimen.backscatter.astype(np.float64)[labels[0]],
    )
    above_mm = 0.004 * (np.cumsum(mu) - mu / 2)
    expected = 20.0**2 * backscatter * np.exp(-2 * above_mm)
    np.testing.assert_allclose(scattering_amplitude(labels, specimen, 20.0, 4.0)[0] ** 2, expected, rtol=1e-4)


def test_specimens_differ_by_about_the_stated_variation() -> None:
    nominal = PhantomPriors().tissues
    ratios = np.array(
        [
            [Specimen(seed).attenuation_per_mm[t] / nominal[t].attenuation_per_mm for t in LAYERS]
            for seed in range(200)
        ]
    )
    assert np.log(ratios).std() == pytest.approx(0.10, rel=0.15)


def test_the_same_seed_gives_the_same_counts_whatever_the_threads() -> None:
    first, second = one_face(threads=1, frames=5), one_face(threads=3, frames=5)
    for index in range(5):
        np.testing.assert_array_equal(first.frame("lateral", index), second.frame("lateral", index))


def test_another_seed_another_frame_and_another_face_give_other_counts() -> None:
    first = one_face(faces=("lateral", "medial"))
    assert not np.array_equal(first.frame("lateral", 0), one_face(seed=8).frame("lateral", 0))
    assert not np.array_equal(first.frame("lateral", 0), first.frame("lateral", 1))
    assert not np.array_equal(first.frame("lateral", 0), first.frame("medial", 0))


def test_a_face_does_not_depend_on_the_other_faces_scanned() -> None:
    alone = one_face(tumour_faces=())
    together = one_face(tumour_faces=(), faces=("medial", "lateral"))
    np.testing.assert_array_equal(alone.frame("lateral", 1), together.frame("lateral", 1))


def test_priors_may_be_replaced() -> None:
    clear = TissuePrior(attenuation_per_mm=0.1, backscatter_db=-100.0)
    dark = one_face(priors=PhantomPriors(tissues=dict.fromkeys(LAYERS, clear)))
    assert np.abs(dark.frame("lateral", 0) - dark.optics.level_counts).max() < 60


def test_progress_counts_every_frame() -> None:
    seen: list[tuple[int, int]] = []
    one_face(frames=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faces": ()}, "at least one"),
        ({"faces": ("medial", "medial")}, "each once"),
        ({"tumour_faces": ("anterior",)}, "anterior"),
        ({"samples": 8}, "samples is 8"),
        ({"frames": 0}, "frames is 0"),
        ({"width_mm": -1.0}, "width_mm"),
        ({"optics": ConsoleOptics(samples=1024)}, "1024"),
    ],
)
def test_impossible_scans_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        one_face(**changes)


def test_unknown_faces_and_frames_are_refused(phantom: LayeredPhantom) -> None:
    with pytest.raises(InputError, match="no face 'left'"):
        phantom.frame("left", 0)
    with pytest.raises(InputError, match="no face 'left'"):
        phantom.truth_map("left")
    with pytest.raises(InputError, match="no frame 8"):
        phantom.frame("medial", 8)
