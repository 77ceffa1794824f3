"""B-scans over HTTP: what was reconstructed is what is seen."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.unit.display.conftest import Display, displayed
from tests.unit.display.test_bscan_store import about

from octmargin.bus import BrokerSettings
from octmargin.display import OwnResults
from octmargin.display.bscan_pictures import RANGE_DB, png_of, window_of
from octmargin.display.bscan_store import BscanStore, KeptFrame
from octmargin.levels import from_levels, to_levels

ALINES, DEPTH = 48, 40
NOISE_DB = -5.0


def bscan_db(seed: int) -> np.ndarray:
    """Noise, and a bright band 10 pixels down."""
    rng = np.random.default_rng(seed)
    noise_db = NOISE_DB + 10 * np.log10(rng.exponential(size=(ALINES, DEPTH)))
    noise_db[:, 10:14] = 30.0
    return noise_db.astype(np.float32)


def kept(seed: int) -> KeptFrame:
    blocks = ALINES // 16
    surface_px = np.full(ALINES, 10.0, np.float32)
    surface_px[5] = np.nan
    return KeptFrame(
        levels=to_levels(bscan_db(seed)),
        surface_px=surface_px,
        state=np.array([2, 3, 4], np.uint8),
        suspicion=np.array([np.nan, 0.1, 0.9], np.float32),
        distance_mm=np.array([np.nan, np.nan, 0.25], np.float32),
        visualised_depth_mm=np.full(blocks, 1.125, np.float32),
    )


@pytest.fixture
async def store() -> BscanStore:
    store = BscanStore(1_000_000)
    sweep = store.begin(1, about())
    for index in (0, 1, 3):
        store.keep(sweep, index, kept(index))
    return store


@pytest.fixture
async def display(broker: BrokerSettings, store: BscanStore) -> AsyncIterator[Display]:
    async with displayed(broker, results=OwnResults(store, lambda: None)) as running:
        yield running


async def test_what_is_kept_is_listed(display: Display) -> None:
    async with display.http() as browser:
        listing = (await browser.get("/api/bscans")).json()
    (sweep,) = listing["sweeps"]
    assert sweep["frames"] == [[0, 1], [3, 3]]
    assert (sweep["sweep"], sweep["face"], sweep["session"]) == (1, "superior", "session-1")
    assert (sweep["case_id"], sweep["specimen_id"], sweep["synthetic"]) == ("case-7", "s-1", True)
    assert (sweep["axial_um"], sweep["aline_um"], sweep["thrown_out"]) == (4.0, 20.0, 0)


async def test_a_picture_is_the_b_scan_in_decibels_depth_downwards(display: Display) -> None:
    async with display.http() as browser:
        answer = await browser.get("/api/bscans/1/3")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-octmargin-synthetic"] == "yes"
    floor_db, top_db = (float(answer.headers[f"x-octmargin-{end}-db"]) for end in ("floor", "top"))
    grey = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert grey.shape == (DEPTH, ALINES)
    seen_db = floor_db + grey.T.astype(float) / 255 * (top_db - floor_db)
    true_db = bscan_db(3)
    between = (true_db > floor_db + 1) & (true_db < top_db - 1)
    assert np.abs(seen_db - true_db)[between].max() < 0.5
    assert (grey.T[true_db < floor_db - 1] == 0).all()


async def test_all_pictures_of_a_sweep_have_the_same_window(display: Display, store: BscanStore) -> None:
    sweep = next(iter(store.sweeps))
    brighter = to_levels(bscan_db(9) + np.float32(20))
    store.keep(sweep, 4, KeptFrame(brighter, *(getattr(kept(9), name) for name in KeptFrame.__slots__[1:])))
    async with display.http() as browser:
        windows = {
            (answer.headers["x-octmargin-floor-db"], answer.headers["x-octmargin-top-db"])
            for answer in [await browser.get(f"/api/bscans/1/{index}") for index in (4, 0, 1, 3)]
        }
    assert len(windows) == 1


def test_the_window_begins_at_the_noise_with_tissue_and_without() -> None:
    rng = np.random.default_rng(1)
    noise_db = (NOISE_DB + 10 * np.log10(rng.exponential(size=(64, 400)))).astype(np.float32)
    tissue_db = noise_db.copy()
    tissue_db[:, 100:300] += 25
    for seen_db in (noise_db, tissue_db):
        window = window_of(to_levels(seen_db))
        assert NOISE_DB - 10 < window.floor_db < NOISE_DB
        assert window.top_db == window.floor_db + RANGE_DB


async def test_the_lines_are_those_of_the_frame(display: Display) -> None:
    async with display.http() as browser:
        lines = (await browser.get("/api/bscans/1/0/lines")).json()
    assert lines["surface_px"] == [10.0] * 5 + [None] + [10.0] * (ALINES - 6)
    assert lines["state"] == [2, 3, 4]
    assert lines["suspicion"] == [None, 0.1, 0.9]
    assert lines["distance_mm"] == [None, None, 0.25]
    assert lines["visualised_depth_mm"] == [1.12] * 3
    assert (lines["face"], lines["session"]) == ("superior", "session-1")


async def test_the_lines_say_the_scale_by_which_they_are_measured(display: Display) -> None:
    async with display.http() as browser:
        lines = (await browser.get("/api/bscans/1/0/lines")).json()
    # 32 A-lines at 20 µm, as the sweep is kept.
    assert (lines["width_mm"], lines["axial_um"], lines["alines_per_block"]) == (0.64, 4.0, 16)


@pytest.mark.parametrize("path", ["1/2", "2/0", "x/0", "1/-1", "1/0.5", "1/" + "9" * 5000, "¹/0", "1/٣"])
async def test_what_is_not_kept_is_told_with_the_reason(display: Display, path: str) -> None:
    async with display.http() as browser:
        for tail in ("", "/lines"):
            answer = await browser.get(f"/api/bscans/{path}{tail}")
            assert answer.status_code == 404
            assert answer.json()["error"]


async def test_a_picture_of_another_session_is_not_taken_for_this_one(display: Display) -> None:
    async with display.http() as browser:
        assert (await browser.get("/api/bscans/1/0?session=session-1")).status_code == 200
        assert (await browser.get("/api/bscans/1/0?session=session-0")).status_code == 404


async def test_many_displays_at_once_get_the_same_picture(display: Display) -> None:
    async with display.http() as browser:
        answers = await asyncio.gather(*(browser.get(f"/api/bscans/1/{index % 2}") for index in range(40)))
        alone = [(await browser.get(f"/api/bscans/1/{index}")).content for index in (0, 1)]
    assert [answer.content for answer in answers] == alone * 20


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_png_of_ours_is_one_that_others_read(rows: int, columns: int, seed: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (rows, columns), np.uint8)
    with Image.open(io.BytesIO(png_of(grey))) as image:
        image.verify()
    assert (np.asarray(Image.open(io.BytesIO(png_of(grey)))) == grey).all()


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=40,
    deadline=None,
)
@given(sweep=st.text(max_size=30), frame=st.text(max_size=30), session=st.text(max_size=30))
async def test_whatever_is_asked_for_is_kept_or_is_not(
    display: Display, sweep: str, frame: str, session: str
) -> None:
    async with display.http() as browser:
        answer = await browser.get(
            f"/api/bscans/{quote(sweep, safe='')}/{quote(frame, safe='')}", params={"session": session}
        )
    assert answer.status_code in (200, 404)


def test_levels_of_the_tests_are_decibels() -> None:
    assert np.nanmax(np.abs(from_levels(kept(0).levels) - np.maximum(bscan_db(0), -36))) <= 0.5
