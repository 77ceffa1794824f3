"""The engine hands on exactly one outcome for every entry of the ring."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from octmargin.engine import Engine, EngineSettings, Judged, Outcome
from octmargin.errors import InputError
from octmargin.frames import FrameFlags, FrameHeader, LossCause, LostFrames, PixelFormat
from octmargin.levels import to_levels
from octmargin.margin import Assessor
from octmargin.ring import FrameRing
from octmargin.signal import Calibration, Reconstructor
from octmargin_simulator.phantom import LayeredPhantom

ALINES, SAMPLES, FRAMES = 64, 1024, 6


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=SAMPLES, alines=ALINES, frames=FRAMES, faces=("superior",), tumour_faces=())


@pytest.fixture(scope="module")
def settings(phantom: LayeredPhantom) -> EngineSettings:
    factory = phantom.factory_calibration
    calibration = Calibration.from_polynomial(factory["k_map"], factory["dispersion_rad"], samples=SAMPLES)
    return EngineSettings(calibration, factory["axial_um"], SAMPLES, 320, Assessor, bscan_every=2)


class Bench:
    """A ring, an engine on it, and what the engine delivered."""

    def __init__(self, settings: EngineSettings, *, threads: int = 1, slots: int = 16) -> None:
        self.ring = FrameRing(slots, ALINES * SAMPLES * 2)
        self.outcomes: list[Outcome] = []
        self._lock = threading.Lock()
        self.engine = Engine(
            self.ring.cursor("engine", holding=threads), settings, self._take, threads=threads
        )

    def _take(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes.append(outcome)

    def feed(self, spectra: np.ndarray, sequence: int, flags: FrameFlags = FrameFlags.NONE) -> None:
        slot = self.ring.reserve()
        slot.memory[: spectra.nbytes].view("<u2")[:] = spectra.reshape(-1)
        header = FrameHeader(sequence, 1, sequence, 0, ALINES, SAMPLES, PixelFormat.MONO12, flags)
        self.ring.commit(slot, header)

    def finish(self) -> list[Outcome]:
        self.engine.start()
        self.ring.close()
        self.engine.join()
        return self.outcomes


@pytest.mark.parametrize("threads", [1, 2])
def test_every_frame_is_judged_once_by_any_number_of_threads(
    settings: EngineSettings, phantom: LayeredPhantom, threads: int
) -> None:
    bench = Bench(settings, threads=threads)
    for index in range(FRAMES):
        bench.feed(phantom.frame("superior", index), index)
    outcomes = bench.finish()
    judged = [o for o in outcomes if isinstance(o, Judged)]
    assert sorted(o.header.sequence for o in judged) == list(range(FRAMES))
    assert all(o.flags.blocks == ALINES // 16 for o in judged)
    assert {o.header.index for o in judged if o.bscan is not None} == {0, 2, 4}


def test_threads_give_the_same_flags(settings: EngineSettings, phantom: LayeredPhantom) -> None:
    results: list[dict[int, np.ndarray]] = []
    for threads in (1, 2):
        bench = Bench(settings, threads=threads)
        for index in range(FRAMES):
            bench.feed(phantom.frame("superior", index), index)
        results.append({o.header.index: o.flags.suspicion for o in bench.finish() if isinstance(o, Judged)})
    for index in range(FRAMES):
        np.testing.assert_array_equal(results[0][index], results[1][index])


@pytest.mark.parametrize("remove_fixed_pattern", [False, True])
def test_spectra_are_reconstructed_as_configured_from_the_first_frame_on(
    settings: EngineSettings, phantom: LayeredPhantom, remove_fixed_pattern: bool
) -> None:
    options: dict[str, Any] = {
        "interpolation": "lanczos",
        "running_mean_frames": 4,
        "remove_fixed_pattern": remove_fixed_pattern,
    }
    bench = Bench(dataclasses.replace(settings, bscan_every=1, **options))
    bench.engine.warm_up(ALINES, PixelFormat.MONO12)
    spectra = [phantom.frame("superior", index) for index in range(3)]
    expected = Reconstructor(settings.calibration, samples=SAMPLES, depth=320, **options)
    for sequence, frame in enumerate(spectra):
        bench.feed(frame, sequence)
    for outcome, frame in zip(bench.finish(), spectra, strict=True):
        assert isinstance(outcome, Judged)
        np.testing.assert_array_equal(outcome.bscan, to_levels(expected.process(frame)))


def test_losses_are_handed_on(settings: EngineSettings) -> None:
    bench = Bench(settings)
    lost = LostFrames(7, 3, LossCause.WIRE)
    bench.ring.lose(lost)
    assert bench.finish() == [lost]


@pytest.mark.parametrize(
    "flag", [FrameFlags.LASER_OFF, FrameFlags.SHUTTER_CLOSED, FrameFlags.TRIGGER_TOO_FAST]
)
def test_a_frame_that_does_not_show_the_tissue_is_lost_with_the_reason(
    settings: EngineSettings, phantom: LayeredPhantom, flag: FrameFlags
) -> None:
    bench = Bench(settings)
    bench.feed(phantom.frame("superior", 0), 5, flag)
    (outcome,) = bench.finish()
    assert isinstance(outcome, LostFrames)
    assert (outcome.first_sequence, outcome.count) == (5, 1)
    assert str(flag.name).lower().replace("_", " ") in outcome.detail
    assert outcome.cause is LossCause.UNUSABLE


def test_a_frame_that_cannot_be_judged_is_lost_and_the_next_one_is_not(
    settings: EngineSettings, phantom: LayeredPhantom
) -> None:
    class FailsOnce(Assessor):
        failed = False

        def assess(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            if not FailsOnce.failed:
                FailsOnce.failed = True
                raise InputError("cannot be judged")
            return super().assess(*args, **kwargs)  # type: ignore[arg-type]

    make: Callable[[], Assessor] = FailsOnce
    bench = Bench(dataclasses.replace(settings, make_assessor=make))
    bench.feed(phantom.frame("superior", 0), 0)
    bench.feed(phantom.frame("superior", 1), 1)
    first, second = bench.finish()
    assert first == LostFrames(0, 1, LossCause.NOT_JUDGED, "InputError: cannot be judged")
    assert isinstance(second, Judged)


def test_saturated_spectra_are_poor_not_clear(settings: EngineSettings) -> None:
    bench = Bench(settings)
    bench.feed(np.full((ALINES, SAMPLES), 4095, np.uint16), 0)
    (outcome,) = bench.finish()
    assert isinstance(outcome, Judged)
    assert (outcome.flags.quality != 0).all()
