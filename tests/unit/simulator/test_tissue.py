"""Simulated specimens: by seed, true to their truth, and as hard as their priors say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from octmargin.errors import ConfigError, InputError
from octmargin.signal import Calibration, Reconstructor, find_surface
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.source import FrameSource
from octmargin_simulator.tissue import (
    KIND,
    MALIGNANT,
    FaceScanner,
    Kind,
    Material,
    Scenario,
    Sort,
    TissueScan,
    TissueSpecimen,
)
from octmargin_simulator.tissue.bodies import Body, paint_bodies, table
from octmargin_simulator.tissue.covers import ARTEFACTS
from octmargin_simulator.tissue.paint import cut, label
from octmargin_simulator.tissue.priors import DEFAULT, load
from octmargin_simulator.tissue.textures import TILE, TextureSource, honeycomb_tile, noise_tile
from octmargin_simulator.tissue.truth import BAND_UM, frame_truth

GRID = ScanGrid(alines=256, frames=16, depth_px=600, width_mm=4.0, height_mm=3.2, axial_um=4.0)
PLAIN = Scenario("none", "none", ())


def labels_of(
    seed: int, scenario: Scenario, sort: Sort = Sort.LUMPECTOMY, grid: ScanGrid = GRID
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    face = TissueSpecimen(seed, sort).face("superior", grid, scenario)
    return np.stack([label(face, frame) for frame in range(grid.frames)])


def scan(seed: int = 3, **changes: object) -> TissueScan:
    sizes: dict[str, object] = {"samples": 512, "alines": 48, "frames": 2, "width_mm": 1.0, "height_mm": 1.0}
    return TissueScan(seed, **(sizes | {"faces": ("superior", "medial")} | changes))  # type: ignore[arg-type]


class TestTextures:
    def test_noise_is_periodic_and_as_wide_as_asked(self) -> None:
        tile = noise_tile(np.random.default_rng(1))
        assert tile.mean() == pytest.approx(0, abs=1e-3)
        assert tile.std() == pytest.approx(1, abs=1e-3)
        for axis in range(3):
            # White noise under a Gaussian of s voxels correlates with exp(-(lag / 2 s)^2), also over the edge.
            correlation = (tile * np.roll(tile, 4, axis)).mean()
            assert correlation == pytest.approx(np.exp(-1.0), abs=0.05)

    def test_a_plane_between_two_planes_varies_as_much_as_they(self) -> None:
        rng = np.random.default_rng(2)
        texture = TextureSource(rng).noise(rng, 0.1)
        deviations = [texture.plane(y).values.std() for y in np.linspace(0, 0.05, 9)]
        np.testing.assert_allclose(deviations, 1, atol=0.12)

    def test_a_honeycomb_has_closed_cells_of_the_asked_size(self) -> None:
        tile = honeycomb_tile(np.random.default_rng(3))
        assert tile.min() >= 0
        assert tile.max() <= 1
        _, cells = ndimage.label(tile < 0.35)
        assert cells == pytest.approx((TILE / 8) ** 3, rel=0.35)  # cut by the tile's edge, some twice


class TestBodies:
    @pytest.mark.parametrize("flatness", [1.0, 2.0])
    def test_a_round_body_is_an_ellipsoid_of_its_size(self, flatness: float) -> None:
        body = Body((2, 1, 1), (2, 1, 1), 0.6, 0.6, Material.CYST, Material.DUCT_WALL, 0.1, flatness)
        labels = np.full((400, 500), Material.STROMA, np.uint8)
        rough = np.zeros((TILE, TILE), np.float32)
        surface = np.full(400, 0.2, np.float32)
        at = (np.float32(1.3), np.float32(0.01), np.float32(0.004), surface, rough)
        paint_bodies(table([body]), *at, (np.float32(1), np.float32(0), np.float32(0)), labels)
        x, z = (np.arange(400) + 0.5) * 0.01, np.arange(500) * 0.004 - 0.2
        distance = np.sqrt((x[:, None] - 2) ** 2 + (1.3 - 1) ** 2 + ((z[None] - 1) * flatness) ** 2)
        clear_of_edges = (abs(distance - 0.6) > 1e-4) & (abs(distance - 0.5) > 1e-4)
        expected = np.select(
            [distance >= 0.6, distance > 0.5], [Material.STROMA, Material.DUCT_WALL], Material.CYST
        )
        np.testing.assert_array_equal(labels[clear_of_edges], expected[clear_of_edges])

    def test_bodies_lie_below_the_surface(self) -> None:
        for seed in range(4):
            face = TissueSpecimen(seed).face("superior", GRID, Scenario("invasive", "cavity", ()))
            depth_mm = np.arange(GRID.depth_px) * 0.004
            for frame in range(0, GRID.frames, 5):
                air = label(face, frame) == Material.AIR
                np.testing.assert_array_equal(air, depth_mm[None] < face.surface_mm[frame][:, None])


class TestSpecimens:
    def test_the_same_seed_is_the_same_specimen_whatever_the_threads(self) -> None:
        one, other = scan(threads=1), scan(threads=3)
        for face in one.faces:
            for frame in range(one.frames):
                np.testing.assert_array_equal(one.frame(face, frame), other.frame(face, frame))

    def test_a_face_does_not_depend_on_the_other_faces_scanned(self) -> None:
        alone = scan(faces=("medial",))
        np.testing.assert_array_equal(alone.frame("medial", 1), scan().frame("medial", 1))

    def test_no_two_specimens_are_alike(self) -> None:
        seen = {tuple(TissueSpecimen(seed).optics.attenuation_per_mm.tolist()) for seed in range(20)}
        assert len(seen) == 20
        assert not np.array_equal(labels_of(1, PLAIN), labels_of(2, PLAIN))

    def test_what_a_lesion_displaces_is_otherwise_unchanged(self) -> None:
        with_lesion, without = labels_of(5, Scenario("invasive", "none", ())), labels_of(5, PLAIN)
        elsewhere = with_lesion != Material.INVASIVE
        assert not elsewhere.all()
        np.testing.assert_array_equal(with_lesion[elsewhere], without[elsewhere])

    def test_stroma_and_tumour_overlap_in_attenuation(self) -> None:
        optics = [TissueSpecimen(seed).optics.attenuation_per_mm for seed in range(60)]
        stroma, tumour = (np.array([mu[m] for mu in optics]) for m in (Material.STROMA, Material.INVASIVE))
        assert (stroma[:, None] > tumour[None]).mean() > 0.1
        assert (tumour > stroma).mean() > 0.5

    def test_specimens_of_every_sort_are_sources_of_frames(self) -> None:
        for sort, faces in ((Sort.SHAVE, ("shave",)), (Sort.NODE, ("node",))):
            source: FrameSource = scan(sort=sort, faces=None)
            assert source.faces == faces
            assert source.synthetic
            assert "synthetic" in source.name
            assert source.frame(faces[0], 0).max() <= 4095

    def test_a_lumpectomy_has_the_six_faces(self) -> None:
        assert len(scan(faces=None, alines=16, frames=1).faces) == 6

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"faces": ()}, "at least one"),
            ({"frames": 0}, "frames is 0"),
            ({"scenarios": {"elsewhere": PLAIN}}, "elsewhere"),
            ({"scenarios": {"medial": Scenario("cold")}}, "cold"),
            ({"scenarios": {"medial": Scenario(artefacts=("hair",))}}, "hair"),
        ],
    )
    def test_what_cannot_be_scanned_is_refused(self, changes: dict[str, object], message: str) -> None:
        with pytest.raises(InputError, match=message):
            scan(**changes)


class TestTissues:
    def test_fat_takes_about_its_share(self) -> None:
        shares = [(labels_of(seed, PLAIN)[..., 200:] == Material.ADIPOSE).mean() for seed in range(8)]
        assert 0.15 < np.mean(shares) < 0.7
        assert np.std(shares) > 0.05

    @pytest.mark.parametrize(
        ("lesion", "needs"),
        [
            ("invasive", {Material.INVASIVE}),
            ("dcis", {Material.DCIS, Material.NECROSIS, Material.CALCIFICATION}),
        ],
    )
    def test_lesions_are_made_of_what_they_are_called(self, lesion: str, needs: set[Material]) -> None:
        seen: set[int] = set()
        for seed in range(12):
            seen |= set(np.unique(labels_of(seed, Scenario(lesion, "none", ()))).tolist())
        assert needs <= seen
        assert all(not MALIGNANT[m] for m in seen - {int(n) for n in needs})

    def test_deep_lesions_stay_below_a_millimetre(self) -> None:
        for seed in range(12):
            for lesion in ("deep invasive", "deep dcis"):
                face = TissueSpecimen(seed).face("superior", GRID, Scenario(lesion, "none", ()))
                for frame in range(0, GRID.frames, 3):
                    nearest = frame_truth(face, frame, label(face, frame)).malignant_mm
                    assert not (nearest < 0.9).any()  # a rough border comes a little nearer

    def test_lesions_near_the_surface_come_within_a_millimetre(self) -> None:
        for seed in range(12):
            for lesion in ("invasive", "dcis"):
                face = TissueSpecimen(seed).face("superior", GRID, Scenario(lesion, "none", ()))
                nearest = [frame_truth(face, f, label(face, f)).malignant_mm for f in range(GRID.frames)]
                assert np.nanmin(nearest) < 1.0

    def test_a_node_has_a_capsule_over_its_cortex(self) -> None:
        labels = labels_of(4, Scenario("metastasis", "none", ()), Sort.NODE)
        assert {Material.CAPSULE, Material.CORTEX, Material.METASTASIS} <= set(np.unique(labels).tolist())
        lines = [line[line != Material.AIR].tolist() for line in labels[3]]
        covered = [line for line in lines if Material.CAPSULE in line and Material.CORTEX in line]
        assert len(covered) > 0.8 * len(lines)  # a metastasis or a vessel may break through
        for line in covered:
            assert line.index(Material.CAPSULE) < len(line) - 1 - line[::-1].index(Material.CORTEX)

    def test_every_artefact_leaves_the_tissue_below_as_it_is(self) -> None:
        clean = labels_of(6, PLAIN)
        above = {Material.INK, Material.BLOOD, Material.FLUID, Material.DEBRIS}
        for name in set(ARTEFACTS) - {"bubbles", "glare"}:
            labels = labels_of(6, Scenario("none", "none", (name,)))
            changed = labels[labels != clean]
            assert changed.size > 0, name
            assert all(KIND[Material(m)] is Kind.ARTEFACT for m in np.unique(changed).tolist()), name
            if name in {"ink", "blood", "fluid", "debris"}:
                assert (clean[labels != clean] == Material.AIR).all()
                assert set(np.unique(changed).tolist()) <= above

    def test_bubbles_take_light_and_glare_adds_it(self) -> None:
        bubbles = TissueSpecimen(6).face("superior", GRID, Scenario("none", "none", ("bubbles",)))
        assert bubbles.covers.transmission.min() < 0.5
        glare = TissueSpecimen(6).face("superior", GRID, Scenario("none", "none", ("glare",)))
        assert glare.covers.specular_counts > 5 * bubbles.covers.specular_counts

    def test_properties_belong_to_the_material_around_its_mean(self) -> None:
        ratios: dict[Material, list[float]] = {Material.ADIPOSE: [], Material.STROMA: []}
        for seed in range(6):
            specimen = TissueSpecimen(seed)
            piece = cut(specimen.face("superior", GRID, PLAIN), specimen.optics, 5)
            for material, found in ratios.items():
                here = (piece.backscatter > 0) & (piece.labels == material)
                if here.sum() > 10_000:
                    mean = specimen.optics.attenuation_per_mm[material]
                    found.append(float(np.median(piece.attenuation_per_mm[here]) / mean))
            assert (piece.backscatter[piece.labels == Material.AIR] == 0).all()
        for found in ratios.values():
            assert len(found) >= 3
            np.testing.assert_allclose(found, 1, atol=0.06)


class TestTruth:
    def test_voxels_are_counted_where_they_are(self) -> None:
        face = TissueSpecimen(9).face("superior", GRID, Scenario("dcis", "none", ("blood",)))
        labels = label(face, 7)
        truth = frame_truth(face, 7, labels)
        z_mm = np.arange(GRID.depth_px) * 0.004 - face.surface_mm[7][:, None].astype(np.float64)
        for block, band, material in ((0, 0, 7), (5, 3, 8), (9, 5, 19), (15, 8, 7)):
            lines = slice(16 * block, 16 * block + 16)
            bins = np.floor(z_mm[lines] * 1000 / BAND_UM)
            expected = ((labels[lines] == material) & (z_mm[lines] >= 0) & (bins == band)).sum()
            # A voxel on the border of a band may fall to either side of it.
            assert int(truth.material_px[block, band, material]) == pytest.approx(int(expected), abs=4)
        assert truth.above_px[:, Material.BLOOD].sum() == (labels == Material.BLOOD).sum()

    def test_the_verdict_to_expect_follows_from_the_voxels(self) -> None:
        made = scan(
            alines=256,
            frames=12,
            width_mm=4.0,
            height_mm=3.0,
            scenarios={
                "superior": Scenario("invasive", "none", ()),
                "medial": Scenario("deep invasive", "none", ()),
            },
        )
        assert made.truth == {"superior": "suspicious", "medial": "clear"}
        assert made.truth_map("superior").any()


class TestPriors:
    def test_changes_replace_what_they_name_and_nothing_else(self, tmp_path: Path) -> None:
        changes = tmp_path / "changes.toml"
        changes.write_text("[materials.stroma]\nmu = [7.0, 7.0]\n")
        changed, plain = load(changes=changes), load()
        assert changed.materials["stroma"].mu == (7.0, 7.0)
        assert changed.materials["stroma"].band_db == plain.materials["stroma"].band_db
        assert changed.scene == plain.scene
        assert TissueSpecimen(1, priors=changed).optics.attenuation_per_mm[Material.STROMA] == 7.0

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[scene]\npositive_shre = 0.2", "positive_shre"),
            ("[dcis]\nrim_um = [90.0, 30.0]", "rim_um"),
            ("[materials.bone]\nmu = [1.0, 2.0]\nbackscatter_db = [0.0, 0.0]", "materials"),
            ("[scene", "TOML"),
        ],
    )
    def test_bad_priors_are_refused_with_the_reason(self, tmp_path: Path, text: str, message: str) -> None:
        changes = tmp_path / "changes.toml"
        changes.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load(changes=changes)

    def test_the_file_says_that_it_is_not_literature(self) -> None:
        assert "NOT literature" in DEFAULT.read_text()


@pytest.mark.parametrize("seed", [1000, 1003, 1005, 1008])
def test_the_surface_of_a_clean_face_is_found_through_its_interference_with_itself(seed: int) -> None:
    specimen = TissueSpecimen(seed)
    optics = specimen.console()
    grid = ScanGrid(GRID.alines, GRID.frames, optics.depth_px, GRID.width_mm, GRID.height_mm, optics.axial_um)
    face = specimen.face("superior", grid, PLAIN)
    raw = np.empty((grid.alines, optics.samples), np.uint16)
    FaceScanner(specimen, "superior", face, optics).expose(3, raw)
    calibration = Calibration.from_polynomial(
        optics.k_map_coefficients,
        optics.dispersion_coefficients,
        samples=optics.samples,
        axial_um=optics.axial_um,
    )
    bscan_db = Reconstructor(calibration, samples=optics.samples, depth=optics.depth_px).process(raw)
    error_px = find_surface(bscan_db, axial_um=optics.axial_um) - face.surface_mm[3] / optics.axial_um * 1000
    assert np.isfinite(error_px).mean() > 0.95
    assert np.nanmean(np.abs(error_px) > 10) < 0.02


def test_the_mean_brightness_of_a_scan_is_what_its_specimen_promises() -> None:
    specimen = TissueSpecimen(11)
    optics = specimen.console(1024)
    grid = ScanGrid(128, 2, optics.depth_px, 2.0, 0.4, optics.axial_um)
    scanner = FaceScanner(specimen, "superior", specimen.face("superior", grid, PLAIN), optics)
    raw = np.empty((128, 1024), np.uint16)
    scanner.expose(0, raw)
    spread = (raw.astype(np.float64) - optics.level_counts).std()
    assert 1.5 * optics.noise_counts.mean() < spread < 0.5 * optics.reference_counts


def test_the_gallery_is_drawn_by_the_command(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "octmargin", "simulate", "--gallery", tmp_path / "sheet.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert ".png" in refused.stderr
    assert "Traceback" not in refused.stderr
