"""The replay driver keeps the same contract as a console on a wire."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from octmargin.device import Disconnected, Driver, SweepEnded
from octmargin.errors import CommandRefusedError, ConfigError, DeviceNotFoundError, InputError
from octmargin.frames import Frame, LostFrames, PixelFormat, ScanPlan
from octmargin.ring import FrameRing
from octmargin_drivers.replay import ReplayDriver

FRAMES, ALINES, SAMPLES = 5, 16, 128
SPECTRA = np.random.default_rng(2).integers(0, 4096, (FRAMES, ALINES, SAMPLES)).astype(np.uint16)


def plan(*, frames: int = FRAMES, line_rate_hz: float = 16_000, samples: int = SAMPLES) -> ScanPlan:
    return ScanPlan("superior", samples, ALINES, frames, 4.0, 4.0, line_rate_hz, PixelFormat.MONO16)


def as_npy(folder: Path) -> str:
    np.save(folder / "s.npy", SPECTRA)
    return f"{folder / 's.npy'}?synthetic=no"


def as_bin(folder: Path) -> str:
    SPECTRA.tofile(folder / "s.bin")
    return f"{folder / 's.bin'}?synthetic=no&samples={SAMPLES}&alines={ALINES}"


def as_h5(folder: Path) -> str:
    with h5py.File(folder / "s.h5", "w") as file:
        file["spectra"] = SPECTRA
    return f"{folder / 's.h5'}?synthetic=no&dataset=spectra"


async def play(driver: Driver, ring: FrameRing, scan: ScanPlan) -> None:
    await driver.configure(scan)
    await driver.start(ring)
    async with asyncio.timeout(60):
        async for event in driver.events():
            if isinstance(event, SweepEnded):
                return


@pytest.mark.parametrize("written", [as_npy, as_bin, as_h5])
async def test_a_file_of_any_kind_arrives_bit_for_bit(tmp_path: Path, written: object) -> None:
    driver = ReplayDriver(written(tmp_path))  # type: ignore[operator]
    await driver.open()
    ring = FrameRing(16, plan().frame_bytes)
    cursor = ring.cursor("test")
    await play(driver, ring, plan())
    account = await driver.stop()
    await driver.close()
    assert account.numbered == FRAMES
    for index in range(FRAMES):
        frame = cursor.take(1)
        assert isinstance(frame, Frame)
        assert (frame.header.sequence, frame.header.index) == (index, index)
        np.testing.assert_array_equal(frame.spectra, SPECTRA[index])
        cursor.release(frame)


async def test_float_spectra_are_scaled_to_counts_over_the_whole_file(tmp_path: Path) -> None:
    volts = SPECTRA / 1000.0 - 1.0
    np.save(tmp_path / "f.npy", volts.astype(np.float32))
    driver = ReplayDriver(f"{tmp_path / 'f.npy'}?synthetic=no")
    await driver.open()
    ring = FrameRing(16, plan().frame_bytes)
    cursor = ring.cursor("test")
    await play(driver, ring, plan())
    await driver.stop()
    await driver.close()
    frame = cursor.take(1)
    assert isinstance(frame, Frame)
    # A straight line through the counts: what was linear stays linear.
    slope, offset = np.polyfit(volts[0].ravel(), frame.spectra.ravel().astype(float), 1)
    np.testing.assert_allclose(frame.spectra, volts[0] * slope + offset, atol=2)
    assert slope > 10_000, "the range of 16 bits is used"


async def test_the_files_own_pace_is_that_of_the_plan(tmp_path: Path) -> None:
    driver = ReplayDriver(as_npy(tmp_path))
    await driver.open()
    ring = FrameRing(16, plan().frame_bytes)
    ring.cursor("test")
    started = time.monotonic()
    await play(driver, ring, plan(line_rate_hz=ALINES * 20.0))
    elapsed_s = time.monotonic() - started
    await driver.close()
    assert elapsed_s >= FRAMES / 20.0


async def test_at_full_speed_a_slow_consumer_gets_every_frame(tmp_path: Path) -> None:
    driver = ReplayDriver(as_npy(tmp_path) + "&pace=max")
    await driver.open()
    ring = FrameRing(3, plan().frame_bytes)
    cursor = ring.cursor("test")
    await driver.configure(plan())
    await driver.start(ring)
    seen = []
    for _ in range(FRAMES):
        entry = await asyncio.to_thread(cursor.take, 5)
        assert isinstance(entry, Frame)
        seen.append(entry.header.index)
        cursor.release(entry)
    await driver.stop()
    await driver.close()
    assert seen == list(range(FRAMES))


async def test_a_stopped_replay_balances(tmp_path: Path) -> None:
    driver = ReplayDriver(as_npy(tmp_path))
    await driver.open()
    ring = FrameRing(16, plan().frame_bytes)
    cursor = ring.cursor("test")
    await driver.configure(plan(line_rate_hz=ALINES * 0.5))
    await driver.start(ring)
    first = await asyncio.to_thread(cursor.take, 60)
    assert isinstance(first, Frame)
    cursor.release(first)
    account = await driver.stop()
    await driver.close()
    rest = 0
    while (entry := cursor.take(0)) is not None:
        assert not isinstance(entry, LostFrames)
        cursor.release(entry)
        rest += 1
    assert account.numbered == 1 + rest < FRAMES


async def test_it_says_which_file_it_plays_and_whether_it_is_synthetic(tmp_path: Path) -> None:
    for option, synthetic in (("no", False), ("yes", True)):
        driver = ReplayDriver(as_npy(tmp_path).replace("synthetic=no", f"synthetic={option}"))
        await driver.open()
        info = await driver.identify()
        await driver.close()
        assert info.model == "replay"
        assert info.capabilities["synthetic"] is synthetic
        assert info.capabilities["max_frames"] == FRAMES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?speed=3", 'unknown option "speed"'),
        ("?pace=-1", "pace=-1; give a number above 0"),
        ("?alines=x", "alines=x"),
    ],
)
def test_an_option_that_is_not_understood_is_named(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReplayDriver("s.npy" + options)


async def test_what_the_file_has_not_is_refused_by_name(tmp_path: Path) -> None:
    driver = ReplayDriver(as_npy(tmp_path))
    await driver.open()
    with pytest.raises(CommandRefusedError, match=f"samples = 64, but s.npy has {SAMPLES}"):
        await driver.configure(plan(samples=64))
    with pytest.raises(CommandRefusedError, match=f"frames = 99, but s.npy has {FRAMES}"):
        await driver.configure(plan(frames=99))
    with pytest.raises(CommandRefusedError, match=r"s\.npy shows superior, not medial"):
        await driver.configure(dataclasses.replace(plan(), face="medial"))
    await driver.close()


def cut_short(name: str) -> Path:
    path = Path(name)
    path.write_bytes(path.read_bytes()[:-7])
    return path


async def test_a_missing_and_a_cut_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceNotFoundError, match="no such file"):
        await ReplayDriver(f"{tmp_path / 'none.npy'}?synthetic=no").open()
    path = cut_short(as_npy(tmp_path).partition("?")[0])
    with pytest.raises(InputError, match=r"s\.npy"):
        await ReplayDriver(f"{path}?synthetic=no").open()


async def test_a_file_that_cannot_be_read_on_is_told_and_hangs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("spectra", data=SPECTRA, chunks=(1, ALINES, SAMPLES), fletcher32=True)
        damaged_at = data.id.get_chunk_info(3).byte_offset
    with path.open("r+b") as raw:
        raw.seek(damaged_at + 5)
        raw.write(b"\xff\xfe\xfd")
    driver = ReplayDriver(f"{path}?synthetic=no")
    await driver.open()
    ring = FrameRing(16, plan().frame_bytes)
    cursor = ring.cursor("test")
    await driver.configure(plan())
    await driver.start(ring)
    async with asyncio.timeout(60):
        event = await anext(aiter(driver.events()))
    assert isinstance(event, Disconnected)
    assert "s.h5 cannot be read on" in event.text
    account = await driver.stop()
    await driver.close()
    assert account.numbered == cursor.entered == 3
