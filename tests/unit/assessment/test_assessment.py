"""A specimen's frames go through the chain that judges them live; what is not there is never good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.assessment import AssessedFace, AssessmentSettings, FaceAssessor, FileSubject, assess_specimen
from octmargin.config import JudgingSection, ModelSection
from octmargin.errors import ConfigError, InputError
from octmargin.frame_judge import EngineSettings
from octmargin.frames import BlockState, LossCause, ScanPlan
from octmargin.margin import Assessor, Outcome, Policy
from octmargin.signal import Calibration, Reconstructor
from octmargin.spectra import SpectraFile
from octmargin_simulator.phantom import LayeredPhantom

FACES, FRAMES, ALINES, SAMPLES, DEPTH = ("superior", "posterior"), 6, 64, 1024, 400
HEIGHT_MM = 1.5


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(
        2,
        samples=SAMPLES,
        alines=ALINES,
        frames=FRAMES,
        height_mm=HEIGHT_MM,
        faces=FACES,
        tumour_faces=("posterior",),
    )


def rule() -> Assessor:
    """What was set on the phantom's layers."""
    return Assessor("rule-1")


class Seen:
    """The phantom as a subject, without the frames of `gone`, and with those of `spoiled` damaged."""

    def __init__(
        self, phantom: LayeredPhantom, gone: tuple[int, ...] = (), spoiled: tuple[int, ...] = ()
    ) -> None:
        self._phantom, self._gone, self._spoiled = phantom, gone, spoiled
        self.name, self.synthetic, self.faces = phantom.name, True, phantom.faces
        self.truth: Mapping[str, str] = phantom.truth

    def plan(self, face: str) -> ScanPlan:
        return ScanPlan(face, SAMPLES, ALINES, FRAMES, 8.0, HEIGHT_MM, 25_000.0)

    def frame(self, face: str, index: int) -> NDArray[Any] | None:
        if index in self._spoiled:
            raise InputError(f"frame {index} of {face} is damaged")
        return None if index in self._gone else self._phantom.frame(face, index)


@pytest.fixture(scope="module")
def settings(phantom: LayeredPhantom) -> EngineSettings:
    factory = phantom.factory_calibration
    calibration = Calibration.from_polynomial(factory["k_map"], factory["dispersion_rad"], samples=SAMPLES)
    return EngineSettings(calibration, factory["axial_um"], SAMPLES, DEPTH, rule)


def assessed(subject: Any, settings: EngineSettings, face: str, **options: Any) -> AssessedFace:
    return FaceAssessor(subject, settings, Policy(), **options).assess(face)


def test_a_face_is_judged_as_its_frames_are(phantom: LayeredPhantom, settings: EngineSettings) -> None:
    result = assessed(Seen(phantom), settings, "posterior")
    reconstructor = Reconstructor(settings.calibration, samples=SAMPLES, depth=DEPTH)
    for index in range(FRAMES):
        raw = phantom.frame("posterior", index)
        intensity = np.empty((ALINES, DEPTH), np.float32)
        bscan_db = reconstructor.process(raw, intensity=intensity)
        flags = rule().assess(
            bscan_db,
            axial_um=settings.axial_um,
            intensity=intensity,
            saturated=raw.max(axis=1) >= phantom.pixel_format.full_scale,
        )
        np.testing.assert_array_equal(result.map.state[index], flags.state)
        np.testing.assert_array_equal(result.map.suspicion[index], flags.suspicion)
        np.testing.assert_array_equal(result.enface_db[index], flags.enface_db)
        np.testing.assert_array_equal(result.probabilities[index], flags.probabilities)


def test_threads_change_nothing(phantom: LayeredPhantom, settings: EngineSettings) -> None:
    one, three = (assessed(Seen(phantom), settings, "posterior", threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.map.suspicion, three.map.suspicion)
    assert one.verdict == three.verdict


def test_lost_and_damaged_frames_are_holes_and_never_nothing_suspicious(
    phantom: LayeredPhantom, settings: EngineSettings
) -> None:
    whole = assessed(Seen(phantom), settings, "superior")
    assert whole.verdict.outcome is Outcome.NOTHING_SUSPICIOUS
    holed = assessed(Seen(phantom, gone=(1, 2), spoiled=(4,)), settings, "superior")
    assert (holed.map.state[[1, 2, 4]] == BlockState.LOST).all()
    np.testing.assert_array_equal(holed.map.state[[0, 3, 5]], whole.map.state[[0, 3, 5]])
    assert np.isnan(holed.enface_db[[1, 2, 4]]).all()
    assert holed.lost == {LossCause.UNRECORDED: 2, LossCause.SPOILED: 1}
    assert holed.verdict.outcome is Outcome.INDETERMINATE
    assert holed.verdict.coverage == pytest.approx(0.5)


def test_a_face_of_which_nothing_came_is_indeterminate(
    phantom: LayeredPhantom, settings: EngineSettings
) -> None:
    result = assessed(Seen(phantom, gone=tuple(range(FRAMES))), settings, "posterior")
    assert result.verdict.outcome is Outcome.INDETERMINATE
    assert result.most_suspicious_frame is None


def test_a_frame_that_cannot_be_judged_is_lost_with_its_reason(
    phantom: LayeredPhantom, settings: EngineSettings
) -> None:
    result = assessed(Seen(phantom), replace(settings, axial_um=float("nan")), "superior")
    assert (result.map.state == BlockState.LOST).all()
    assert result.lost == {LossCause.NOT_JUDGED: FRAMES}
    assert len(result.failures) == 1


def test_a_lost_frame_cannot_be_looked_at(phantom: LayeredPhantom, settings: EngineSettings) -> None:
    assessor = FaceAssessor(Seen(phantom, gone=(2,)), settings, Policy())
    assert assessor.look("superior", 1).bscan is not None
    with pytest.raises(InputError, match="frame 2 of superior: missing from the recording"):
        assessor.look("superior", 2)


def test_a_model_that_does_not_exist_is_refused_before_anything_is_written(
    tmp_path: Path, phantom: LayeredPhantom, settings: EngineSettings
) -> None:
    with pytest.raises(ConfigError, match="model 'none' does not exist"):
        assess_specimen(
            Seen(phantom),
            settings.calibration,
            settings.axial_um,
            tmp_path / "out",
            AssessmentSettings(judging=JudgingSection(model=ModelSection(name="none"))),
        )
    assert not (tmp_path / "out").exists()


def test_more_depth_than_there_is_is_refused_before_anything_is_written(
    tmp_path: Path, phantom: LayeredPhantom, settings: EngineSettings
) -> None:
    with pytest.raises(ConfigError, match=r"engine.depth is 513, but spectra of 1024 samples have 512"):
        assess_specimen(
            Seen(phantom),
            settings.calibration,
            settings.axial_um,
            tmp_path / "out",
            AssessmentSettings(judging=JudgingSection(), depth=SAMPLES // 2 + 1),
        )
    assert not (tmp_path / "out").exists()


def test_names_cannot_break_out_of_the_sheet(
    tmp_path: Path, phantom: LayeredPhantom, settings: EngineSettings
) -> None:
    subject = Seen(phantom)
    subject.name = "<script>alert(1)</script>"
    assess_specimen(
        subject,
        settings.calibration,
        settings.axial_um,
        tmp_path / "out",
        AssessmentSettings(judging=JudgingSection(model=ModelSection(name="rule-1"))),
        faces=("superior",),
    )
    page = (tmp_path / "out/index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


# -- files of spectra ----------------------------------------------------------------------------------


def subject_of(path: Path, spectra: np.ndarray, **options: Any) -> FileSubject:
    np.save(path / "s.npy", spectra)
    with SpectraFile.open(path / "s.npy") as file:
        return FileSubject(file, face="node", width_mm=4, height_mm=2, synthetic=True, **options)


@pytest.mark.parametrize(
    ("dtype", "bits", "full_scale"), [("uint8", None, 255), ("uint16", None, 65535), ("uint16", 12, 4095)]
)
def test_counts_pass_unchanged_and_their_bits_say_what_is_saturated(
    tmp_path: Path, dtype: str, bits: int | None, full_scale: int
) -> None:
    spectra = np.arange(2 * 4 * 8, dtype=dtype).reshape(2, 4, 8)
    np.save(tmp_path / "s.npy", spectra)
    with SpectraFile.open(tmp_path / "s.npy") as file:
        subject = FileSubject(file, face="node", width_mm=4, height_mm=2, synthetic=True, bits=bits)
        np.testing.assert_array_equal(subject.frame("node", 1), spectra[1])
    plan = subject.plan("node")
    assert plan.pixel_format.full_scale == full_scale
    assert (plan.face, plan.frames, plan.alines, plan.width_mm, plan.height_mm) == ("node", 2, 4, 4, 2)


def test_float_spectra_become_counts_of_which_none_is_saturated(tmp_path: Path) -> None:
    spectra = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    np.save(tmp_path / "s.npy", spectra)
    with SpectraFile.open(tmp_path / "s.npy") as file:
        subject = FileSubject(file, face="node", width_mm=4, height_mm=2, synthetic=False)
        counts = np.stack([subject.frame("node", index) for index in range(2)])
    assert counts.dtype == np.uint16
    assert counts.max() == subject.plan("node").pixel_format.full_scale - 1
    assert np.corrcoef(counts.ravel(), spectra.ravel())[0, 1] > 0.999


def test_bits_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    high = np.full((1, 4, 8), 5000, np.uint16)
    with pytest.raises(InputError, match="a count of 5000 exceeds 12 bits"):
        subject_of(tmp_path, high, bits=12)
    with pytest.raises(InputError, match="uint16 counts have no 10 bits; give 12 or 16"):
        subject_of(tmp_path, high, bits=10)
    with pytest.raises(InputError, match="float spectra have no bits"):
        subject_of(tmp_path, high.astype(np.float32), bits=12)
