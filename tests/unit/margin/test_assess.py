"""Rule-1 on synthetic tissue, and what it says of frames that cannot be judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from octmargin.errors import ConfigError, InputError
from octmargin.frames import BlockQuality, BlockState
from octmargin.margin import Assessor, Outcome, Policy, QualityParameters, RuleParameters, SweepMap, judge

AXIAL_UM = 4.0


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return Assessor("rule-1")


@pytest.mark.parametrize("seed", range(12))
def test_flags_nothing_on_clear_layers(seed: int, assessor: Assessor, tissue: Any, clear_layers: Any) -> None:
    flags = assessor.assess(tissue.bscan_db(clear_layers(seed), seed=seed), axial_um=AXIAL_UM)
    assert (flags.quality == BlockQuality.OK).all()
    assert not flags.suspicious.any()
    assert np.isnan(flags.distance_mm).all()


@pytest.mark.parametrize("top_mm", [-0.1, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_flags_a_tumour_where_it_is_and_how_deep(
    top_mm: float, seed: int, assessor: Assessor, tissue: Any, clear_layers: Any
) -> None:
    centre_mm, half_width_mm = 4.0, 1.3
    frame = tissue.bscan_db(
        clear_layers(seed), tumour_mm=(centre_mm, top_mm + 0.4, half_width_mm, 0.4), seed=seed
    )
    flags = assessor.assess(frame, axial_um=AXIAL_UM)
    from_centre_mm = np.abs(tissue.block_mm - centre_mm)
    assert flags.suspicious[from_centre_mm < 0.7].all()
    assert not flags.suspicious[from_centre_mm > half_width_mm + 0.25].any()
    np.testing.assert_allclose(flags.distance_mm[from_centre_mm < 0.3], max(top_mm, 0.0), atol=0.05)


@pytest.mark.parametrize("mu", [1.5, 3.0, 6.5])
def test_reads_the_attenuation_of_a_uniform_tissue(mu: float, assessor: Assessor, tissue: Any) -> None:
    flags = assessor.assess(tissue.bscan_db([((mu, 1.0), 9.0)], snr_db=28.0), axial_um=AXIAL_UM)
    assert np.median(flags.attenuation_per_mm) == pytest.approx(mu, rel=0.1)
    visible_mm = (28.0 + 10 * np.log10(mu / 3.0) - 6.0) / (20 * np.log10(np.e) * mu)
    assert np.median(flags.visualised_depth_mm) == pytest.approx(visible_mm, abs=0.1)


def test_the_roll_off_of_the_console_is_not_read_as_attenuation(tissue: Any) -> None:
    frame = tissue.bscan_db([((3.0, 1.0), 9.0)], snr_db=30.0, rolloff_db_per_mm=8.0)
    corrected = Assessor("rule-1", rolloff_db_per_mm=8.0).assess(frame, axial_um=AXIAL_UM)
    as_if_none = Assessor("rule-1").assess(frame, axial_um=AXIAL_UM)
    assert np.median(corrected.attenuation_per_mm) == pytest.approx(3.0, rel=0.1)
    assert np.median(as_if_none.attenuation_per_mm) > 3.6


def test_names_the_likelier_class(assessor: Assessor, tissue: Any) -> None:
    for column, kind in enumerate((tissue.adipose, tissue.stroma, tissue.tumour)):
        flags = assessor.assess(tissue.bscan_db([(kind, 9.0)]), axial_um=AXIAL_UM)
        np.testing.assert_allclose(flags.probabilities.sum(axis=1), 1.0, atol=1e-5)
        assert (np.argmax(flags.probabilities, axis=1) == column).mean() > 0.9
    assert assessor.classes == ("adipose", "stroma", "tumour")


def test_a_bright_layer_over_a_dark_one_is_not_strong_attenuation(assessor: Assessor, tissue: Any) -> None:
    frame = tissue.bscan_db([(tissue.stroma, 0.4), (tissue.adipose, 9.0)], relief_mm=0.0)
    assert assessor.assess(frame, axial_um=AXIAL_UM).suspicion.max() < 0.5


def test_a_frame_of_noise_is_poor_everywhere_and_nothing_is_known_of_it(
    assessor: Assessor, tissue: Any
) -> None:
    flags = assessor.assess(tissue.bscan_db([]), axial_um=AXIAL_UM)
    assert ((flags.quality & BlockQuality.NO_SURFACE) > 0).all()
    assert not flags.suspicious.any()
    for unknown in (flags.suspicion, flags.surface_mm, flags.brightness_db, flags.probabilities):
        assert np.isnan(unknown).all()
    assert (flags.visualised_depth_mm == 0).all()


def test_saturated_lines_are_left_out_and_make_a_block_poor(assessor: Assessor, tissue: Any) -> None:
    frame = tissue.bscan_db([(tissue.stroma, 9.0)])
    saturated = np.zeros(512, dtype=bool)
    saturated[0:16] = True
    saturated[32:34] = True
    frame[32:34] += 30.0
    flags = assessor.assess(frame, axial_um=AXIAL_UM, saturated=saturated)
    assert flags.quality[0] & BlockQuality.SATURATED
    assert np.isnan(flags.suspicion[0])
    assert flags.quality[2] == BlockQuality.OK
    assert flags.brightness_db[2] == pytest.approx(np.median(flags.brightness_db[3:]), abs=2.0)


def test_missing_tissue_is_poor_and_its_neighbours_are_not(assessor: Assessor, tissue: Any) -> None:
    frame = tissue.bscan_db([(tissue.stroma, 9.0)])
    frame[160:256] = tissue.bscan_db([])[160:256]
    flags = assessor.assess(frame, axial_um=AXIAL_UM)
    assert ((flags.quality[10:16] & BlockQuality.NO_SURFACE) > 0).all()
    assert (flags.quality[[8, 17]] == BlockQuality.OK).all()
    assert np.isnan(flags.enface_db[165:250]).all()


def test_lines_that_are_not_finite_poison_nothing_else(assessor: Assessor, tissue: Any) -> None:
    frame = tissue.bscan_db([(tissue.stroma, 9.0)])
    frame[100] = np.nan
    flags = assessor.assess(frame, axial_um=AXIAL_UM)
    assert (flags.quality == BlockQuality.OK).all()
    assert np.isnan(flags.surface_px[100])
    assert not flags.suspicious.any()


def test_dim_tissue_is_poor(assessor: Assessor, tissue: Any) -> None:
    flags = assessor.assess(tissue.bscan_db([(tissue.stroma, 9.0)], snr_db=11.0), axial_um=AXIAL_UM)
    assert (flags.quality != BlockQuality.OK).mean() > 0.9


def test_intensity_from_the_same_pass_changes_nothing(assessor: Assessor, tissue: Any) -> None:
    frame = tissue.bscan_db([(tissue.stroma, 9.0)])
    derived = assessor.assess(frame, axial_um=AXIAL_UM)
    given = assessor.assess(frame, axial_um=AXIAL_UM, intensity=(10 ** (frame / 10.0)).astype(np.float32))
    np.testing.assert_allclose(given.suspicion, derived.suspicion, atol=1e-3)
    np.testing.assert_allclose(given.brightness_db, derived.brightness_db, atol=1e-3)


def test_the_en_face_value_is_the_mean_below_the_surface(assessor: Assessor, tissue: Any) -> None:
    frame = tissue.bscan_db([(tissue.stroma, 9.0)])
    flags = assessor.assess(frame, axial_um=AXIAL_UM)
    line = int(np.flatnonzero(np.isfinite(flags.surface_px))[7])
    start = round(float(flags.surface_px[line])) + 12
    assert flags.enface_db[line] == pytest.approx(frame[line, start : start + 113].mean(), abs=0.05)


def test_a_short_last_block_gets_its_own_flag(assessor: Assessor, tissue: Any) -> None:
    frame = tissue.bscan_db([(tissue.stroma, 9.0)])[:500]
    flags = assessor.assess(frame, axial_um=AXIAL_UM)
    assert flags.blocks == 32
    assert np.isfinite(flags.suspicion[-1])


def test_flags_are_read_only_and_independent_of_the_next_frame(assessor: Assessor, tissue: Any) -> None:
    first = assessor.assess(tissue.bscan_db([(tissue.stroma, 9.0)]), axial_um=AXIAL_UM)
    kept = first.brightness_db.copy()
    assessor.assess(tissue.bscan_db([(tissue.adipose, 9.0)]), axial_um=AXIAL_UM)
    np.testing.assert_array_equal(first.brightness_db, kept)
    with pytest.raises(ValueError, match="read-only"):
        first.suspicion[0] = 0.0


def test_a_sweep_over_a_tumour_is_suspicious_and_one_beside_it_is_not(
    assessor: Assessor, tissue: Any, clear_layers: Any
) -> None:
    with_tumour, clear = SweepMap(4, 32), SweepMap(4, 32)
    for index in range(4):
        layers = clear_layers(index)
        blob = tissue.bscan_db(layers, tumour_mm=(4.0, 0.5, 1.2, 0.4), seed=index)
        with_tumour.place(index, assessor.assess(blob, axial_um=AXIAL_UM))
        clear.place(index, assessor.assess(tissue.bscan_db(layers, seed=index), axial_um=AXIAL_UM))
    assert judge(with_tumour, Policy(), complete=True).outcome is Outcome.SUSPICIOUS
    verdict = judge(clear, Policy(), complete=True)
    assert verdict.outcome is Outcome.NOTHING_SUSPICIOUS
    assert verdict.counts[BlockState.NOTHING_SUSPICIOUS] == 128


def test_says_what_is_wrong(assessor: Assessor) -> None:
    frame = np.zeros((32, 100), dtype=np.float32)
    with pytest.raises(ConfigError, match="model 'rule-9' does not exist; use one of margin-1, onnx, rule-1"):
        Assessor("rule-9")
    with pytest.raises(ConfigError, match=r"model rule-1:x: rule-1 takes no argument"):
        Assessor("rule-1:x")
    with pytest.raises(ConfigError, match="quality parameter bin_um is 0"):
        QualityParameters(bin_um=0)
    with pytest.raises(ConfigError, match="rule parameter min_run_um is 0"):
        RuleParameters(min_run_um=0)
    with pytest.raises(ConfigError, match="suspicious_at is 1"):
        Assessor("rule-1", suspicious_at=1.0)
    with pytest.raises(InputError, match="aline_um is 0"):
        assessor.assess(frame, axial_um=AXIAL_UM, aline_um=0.0)
    with pytest.raises(InputError, match=r"B-scan: expected float \(alines, depth\)"):
        assessor.assess(frame[0], axial_um=AXIAL_UM)
    with pytest.raises(InputError, match=r"intensity: expected shape \(32, 100\) .* got \(32, 99\)"):
        assessor.assess(frame, axial_um=AXIAL_UM, intensity=frame[:, 1:])
    with pytest.raises(InputError, match=r"saturated: expected shape \(32,\)"):
        assessor.assess(frame, axial_um=AXIAL_UM, saturated=[True])
