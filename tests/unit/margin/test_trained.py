"""margin-1 on simulated specimens: what holds for every frame, whatever it shows."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import ConfigError, InputError
from octmargin.frames import BlockQuality, BlockState
from octmargin.margin import CLASSES, Assessor, Policy, SweepMap, judge, load_model
from octmargin.margin.model_file import read_model
from octmargin.margin.network import GatherNetwork
from octmargin.margin.trained import TrainedModel
from octmargin.signal import Calibration, Reconstructor
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.tissue import FaceScanner, Scenario, TissueSpecimen
from octmargin_simulator.tissue.truth import block_truth

AXIAL_UM, ALINE_UM = 4.0, 15.625


class Face:
    """A face of a simulated specimen, frame by frame, as B-scan, intensity and truth."""

    def __init__(self, seed: int, scenario: Scenario, *, alines: int = 512, frames: int = 40) -> None:
        specimen = TissueSpecimen(seed)
        optics = specimen.console()
        grid = ScanGrid(alines, frames, optics.depth_px, alines * ALINE_UM / 1000, frames * 0.2, AXIAL_UM)
        self.tissue = specimen.face("superior", grid, scenario)
        self._scanner = FaceScanner(specimen, "superior", self.tissue, optics)
        calibration = Calibration.from_polynomial(
            optics.k_map_coefficients.tolist(),
            optics.dispersion_coefficients.tolist(),
            samples=optics.samples,
            axial_um=AXIAL_UM,
        )
        self._reconstructor = Reconstructor(calibration, samples=optics.samples, depth=optics.depth_px)
        self.raw = np.empty((alines, optics.samples), np.uint16)

    def frame(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """B-scan, intensity, and whether each block is malignant."""
        truth = self._scanner.expose(index, self.raw)
        intensity = np.empty((len(self.raw), self._reconstructor.depth), np.float32)
        bscan_db = self._reconstructor.process(self.raw, intensity=intensity)
        kinds, _ = block_truth(truth, AXIAL_UM, ALINE_UM)
        return bscan_db, intensity, np.array([kind in {"invasive", "dcis"} for kind in kinds])


@pytest.fixture(scope="module")
def tumour() -> Face:
    """Seed 3 has an invasive carcinoma of some millimetres at the surface of this face."""
    return Face(TUMOUR_SEED, Scenario("invasive", "none", ()))


TUMOUR_SEED = 3


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return Assessor("margin-1")


def middle_of(face: Face) -> int:
    """Frame through the middle of the first malignant body."""
    body = next(b for b in face.tissue.bodies if b.core.name in {"INVASIVE", "DCIS", "NECROSIS"})
    return min(39, max(0, round(float(np.mean([body.start[1], body.end[1]])) / 0.2)))


def test_probabilities_are_probabilities_and_suspicion_is_the_malignant_part(
    tumour: Face, assessor: Assessor
) -> None:
    bscan_db, intensity, _ = tumour.frame(middle_of(tumour))
    flags = assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity)
    assert assessor.classes == CLASSES
    assert flags.probabilities.shape == (32, len(CLASSES))
    np.testing.assert_allclose(flags.probabilities.sum(axis=1), 1, atol=1e-5)
    malignant = flags.probabilities[:, [CLASSES.index("invasive"), CLASSES.index("dcis")]].sum(axis=1)
    np.testing.assert_allclose(malignant, flags.suspicion, atol=1e-6)


def test_a_carcinoma_at_the_surface_is_more_suspicious_than_what_lies_beside_it(
    tumour: Face, assessor: Assessor
) -> None:
    bscan_db, intensity, truth = tumour.frame(middle_of(tumour))
    flags = assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity)
    assert 3 <= truth.sum() <= 28
    assert np.median(flags.suspicion[truth]) > 5 * np.median(flags.suspicion[~truth])
    assert np.nanmedian(flags.distance_mm[truth & flags.suspicious]) < 0.3


def test_the_same_frame_gives_the_same_bits_whatever_came_before(tumour: Face, assessor: Assessor) -> None:
    bscan_db, intensity, _ = tumour.frame(5)
    first = assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity)
    other_db, other, _ = tumour.frame(20)
    assessor.assess(other_db[:160], axial_um=AXIAL_UM, intensity=other[:160])
    again = assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity)
    fresh = Assessor("margin-1").assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity)
    for name in ("suspicion", "probabilities", "feature_mm", "context"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        np.testing.assert_array_equal(getattr(first, name), getattr(fresh, name))


def test_where_nothing_is_seen_nothing_is_known(assessor: Assessor) -> None:
    noise = np.random.default_rng(0).exponential(size=(64, 600)).astype(np.float32)
    flags = assessor.assess(10 * np.log10(noise), axial_um=AXIAL_UM)
    assert np.isnan(flags.suspicion).all()
    assert np.isnan(flags.probabilities).all()
    assert (flags.state == BlockState.POOR).all()
    empty = assessor.assess(np.full((64, 600), np.nan, np.float32), axial_um=AXIAL_UM)
    assert (empty.state == BlockState.POOR).all()


@pytest.mark.parametrize(
    ("axial_um", "aline_um", "why"),
    [
        (5.5, None, "margin-1 knows depth pixels of 3.8 to 4.2 µm, and these are of 5.5 µm"),
        (2.0, None, "margin-1 knows depth pixels of 3.8 to 4.2 µm, and these are of 2 µm"),
        (4.0, 23.4, "margin-1 knows A-lines 12 to 20 µm apart, and these are 23.4 µm apart"),
        (
            2.0,
            8.0,
            (
                "margin-1 knows A-lines 12 to 20 µm apart, and these are 8 µm apart; "
                "depth pixels of 3.8 to 4.2 µm, and these are of 2 µm"
            ),
        ),
    ],
)
def test_pixels_that_the_model_was_not_validated_for_are_poor(
    axial_um: float, aline_um: float | None, why: str, tumour: Face, assessor: Assessor
) -> None:
    bscan_db, intensity, _ = tumour.frame(5)
    flags = assessor.assess(bscan_db, axial_um=axial_um, aline_um=aline_um, intensity=intensity)
    assert ((flags.quality & BlockQuality.UNFAMILIAR) > 0).all()
    assert np.isnan(flags.suspicion).all()
    assert (flags.state == BlockState.POOR).all()
    sweep_map = SweepMap(1, flags.blocks, assessor.model)
    sweep_map.place(0, flags)
    verdict = judge(sweep_map, Policy(), complete=True)
    assert verdict.outcome == "indeterminate"
    assert why in verdict.reasons


def test_of_pixels_that_it_knows_nothing_is_said(tumour: Face, assessor: Assessor) -> None:
    bscan_db, intensity, _ = tumour.frame(5)
    flags = assessor.assess(bscan_db, axial_um=AXIAL_UM, aline_um=ALINE_UM, intensity=intensity)
    sweep_map = SweepMap(1, flags.blocks, assessor.model)
    sweep_map.place(0, flags)
    assert not any("knows" in reason for reason in judge(sweep_map, Policy(), complete=True).reasons)


def test_a_frame_of_any_width_is_judged(tumour: Face, assessor: Assessor) -> None:
    bscan_db, intensity, _ = tumour.frame(5)
    for alines in (1, 7, 15, 16, 17, 100, 512):
        flags = assessor.assess(bscan_db[:alines], axial_um=AXIAL_UM, intensity=intensity[:alines])
        assert flags.blocks == -(-alines // 16)
        assert np.isfinite(flags.suspicion).all()
        # Fewer than half of a block's A-lines are no block: what fills it up is copied.
        assert (flags.state[-1] == BlockState.POOR) == (0 < alines % 16 < 8)
        assert (flags.visualised_depth_mm <= 1.0).all()


def test_a_block_needs_half_of_its_alines_whatever_is_wrong_with_the_others(
    tumour: Face, assessor: Assessor
) -> None:
    bscan_db, intensity, _ = tumour.frame(5)
    bscan_db, intensity = bscan_db.copy(), intensity.copy()
    saturated = np.zeros(512, np.bool_)
    for aline in range(32, 39):
        bscan_db[aline], intensity[aline] = np.nan, np.nan
    saturated[40:43] = True
    flags = assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity, saturated=saturated)
    assert flags.state[2] == BlockState.POOR
    assert (np.delete(flags.state, 2) != BlockState.POOR).all()
    assert np.isfinite(flags.suspicion).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_make_what_they_touch_unknown(
    value: float, tumour: Face, assessor: Assessor
) -> None:
    bscan_db, intensity, _ = tumour.frame(5)
    sound = assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity)
    spoiled_px = int(sound.surface_px[264]) + 40
    spoiled = intensity.copy()
    spoiled[264, spoiled_px] = value
    flags = assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=spoiled)
    assert flags.state[16] == BlockState.POOR
    assert np.isnan(flags.suspicion[16])
    np.testing.assert_array_equal(flags.suspicion[[0, 1, 30, 31]], sound.suspicion[[0, 1, 30, 31]])


class TestGather:
    """Evidence over a sweep."""

    @staticmethod
    def swept(assessor: Assessor, face: Face, frames: range) -> SweepMap:
        sweep_map = SweepMap(len(frames), 32, assessor.model)
        for place, index in enumerate(frames):
            bscan_db, intensity, _ = face.frame(index)
            sweep_map.place(place, assessor.assess(bscan_db, axial_um=AXIAL_UM, intensity=intensity))
        return sweep_map

    def test_what_is_not_sound_has_no_evidence_and_says_nothing_of_others(
        self, tumour: Face, assessor: Assessor
    ) -> None:
        sweep_map = self.swept(assessor, tumour, range(8, 14))
        model = load_model("margin-1")
        rng = np.random.default_rng(0)
        sound = rng.random((6, 32)) < 0.8
        context = np.stack([sweep_map._context[k] for k in range(6)])
        spoiled = np.where(sound[..., None], context, np.float32(np.nan))
        evidence = model.gather(sweep_map.suspicion, context, sound)
        np.testing.assert_array_equal(evidence, model.gather(sweep_map.suspicion, spoiled, sound))
        np.testing.assert_array_equal(np.isnan(evidence), ~sound)
        assert ((evidence[sound] >= 0) & (evidence[sound] <= 1)).all()

    def test_evidence_changes_with_the_next_frame_and_only_near_it(
        self, tumour: Face, assessor: Assessor
    ) -> None:
        sweep_map = self.swept(assessor, tumour, range(6, 18))
        before = sweep_map.evidence.copy()
        sweep_map.place(11, assessor.assess(np.full((512, 600), np.nan, np.float32), axial_um=AXIAL_UM))
        after = sweep_map.evidence
        assert np.isnan(after[11]).all()
        np.testing.assert_array_equal(after[:8], before[:8])
        assert not np.array_equal(after[10], before[10])


def test_of_a_sweep_from_which_nothing_came_nothing_is_known() -> None:
    model = load_model("margin-1")
    empty = SweepMap(60, 32, model)
    assert np.isnan(empty.evidence).all()
    empty.mark_lost(3)
    assert np.isnan(empty.evidence).all()
    assert not empty.sound.any()


def test_evidence_from_what_the_weights_were_not_made_for_is_refused() -> None:
    with pytest.raises(InputError, match="evidence from 5 values per block"):
        GatherNetwork(read_model("margin-1")).run(np.zeros((3, 4, 5), np.float32))


def test_a_file_for_other_classes_is_refused() -> None:
    other: Any = msgspec.structs.replace(read_model("margin-1"), classes=("fat", "tumour"))
    with pytest.raises(ConfigError, match="classes"):
        TrainedModel(other)
