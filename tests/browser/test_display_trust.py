"""What is not current any more is grey within two seconds, says why, and comes back by itself."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import Room, blank_page, room_of
from tests.browser.looking import (
    current,
    grey_in_time,
    judged,
    not_current,
    opened,
    picture,
    tile,
    verdict_of,
    watch_trust,
)

# A display whose clock is wrong by `window.wrongMs`.
_WRONG_CLOCK = """
    const rightly = Date.now.bind(Date);
    window.wrongMs = 0;
    Date.now = () => rightly() + window.wrongMs;
"""
# It goes wrong now; what is heard afterwards does not say that all is well.
_SET_CLOCK_WRONG = """() => {
    window.wrongMs = -60000;
    Object.assign(window.trustNotes, { heardMs: performance.now(), isTold: false });
}"""
# The next three flags are lost on their way to the page, and the maps until they are let through; it stays there.
_LOSE_FLAGS = """() => {
    const { store } = window.octmargin;
    const add = store.add.bind(store);
    let toLose = 3;
    window.losesMaps = false;
    store.add = (event) => {
        if (event.type === "map" && window.losesMaps) return;
        if (event.type === "flag" && toLose > 0) {
            const { face, sweep, frame_index: frame } = event.message;
            const isMapped = store.tally.faces.get(face)?.map?.sweep === sweep;
            // In the middle of a face whose map has come: what is lost at its end is of no face that is shown any more.
            if (toLose < 3 || (isMapped && frame > 3 && frame < 8)) {
                toLose -= 1;
                window.losesMaps = true;
                store.lookAt(face);
                return;
            }
        }
        add(event);
    };
}"""


_SCAN_SUPERIOR = """async () => {
    const { commands } = window.octmargin;
    const registered = await commands.give("register", { kind: "lumpectomy", laterality: "left" });
    const started = await commands.give("start", { face: "superior" });
    return [registered.outcome, started.outcome];
}"""
# One part of the page has a mistake in it.
_BREAK = """() => {
    const { store } = window.octmargin;
    Object.defineProperty(store, "faces", { get() { throw new Error("broken"); } });
    store.touch("faces");
}"""


@asynccontextmanager
async def _client(room: Room) -> AsyncIterator[aiomqtt.Client]:
    """Somebody else on the bus."""
    broker = room.broker_settings
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        yield client


async def _retained(room: Room, topic: str) -> dict[str, Any]:
    async with _client(room) as client:
        await client.subscribe(topic)
        async for message in client.messages:
            said: dict[str, Any] = json.loads(bytes(message.payload))
            return said
    raise AssertionError(topic)


async def _say(room: Room, topic: str, message: dict[str, Any]) -> None:
    async with _client(room) as client:
        await client.publish(topic, json.dumps(message), qos=1, retain=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def still(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    """A room in which superior was scanned and nothing happens any more: what a test says there is not said over."""
    folder = tmp_path_factory.mktemp("still")
    async with room_of(folder, scan={"begin": "on-command"}) as running:
        async with blank_page(browser) as page:
            await opened(page, running)
            assert await page.evaluate(_SCAN_SUPERIOR) == ["done", "done"]
            await judged(page, "superior")
            await expect(page.locator(".phase")).to_have_attribute("data-phase", "idle")
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def still_page(browser: Browser, still: Room) -> AsyncIterator[Page]:
    async with blank_page(browser) as page:
        await opened(page, still)
        await judged(page, "superior")
        yield page


async def test_the_broker_goes(page: Page, room: Room) -> None:
    await opened(page, room)
    await judged(page, "superior")
    await watch_trust(page)
    await room.stop_broker()
    await grey_in_time(page)
    await not_current(page, "no connection")
    await picture(page, "trust-broker-gone")
    await room.start_broker()
    await current(page)
    await judged(page, "inferior")


async def test_the_daemon_dies(page: Page, room: Room) -> None:
    await opened(page, room)
    await judged(page, "superior")
    await watch_trust(page)
    await room.kill_daemon()
    await grey_in_time(page)
    await not_current(page, "no connection")
    await picture(page, "trust-daemon-killed")
    await room.start_daemon()
    await current(page)
    await judged(page, "superior")


async def test_the_daemon_stands_still(page: Page, room: Room) -> None:
    await opened(page, room)
    await judged(page, "superior")
    await watch_trust(page)
    room.freeze_daemon()
    await grey_in_time(page)
    await not_current(page, "silent")
    await picture(page, "trust-daemon-frozen")
    room.thaw_daemon()
    await current(page)


async def test_the_console_is_pulled(page: Page, room: Room) -> None:
    await opened(page, room)
    await judged(page, "superior")
    await room.unplug_console()
    await expect(page.locator("body")).to_have_attribute("data-live", "false")
    await not_current(page, "the console is gone")
    alarm = page.locator(".alarm").first  # a sweep that cannot go on may be another
    await expect(alarm).to_have_attribute("data-priority", "medium")
    await expect(alarm).to_contain_text("check cable and power")
    await picture(page, "trust-console-pulled")
    await room.plug_console()
    await current(page)
    await expect(alarm).to_have_count(0)


async def test_a_clock_that_is_wrong_is_told(browser: Browser, room: Room) -> None:
    async with blank_page(browser) as page:
        await page.add_init_script(_WRONG_CLOCK)
        await opened(page, room)
        await watch_trust(page)
        await page.evaluate(_SET_CLOCK_WRONG)
        await grey_in_time(page)
        # Less than the minute by as much as the messages were under way.
        await not_current(page, re.compile(r"clocks differ: this display is (60|5\d)\.\d s behind"))
        await picture(page, "trust-clock-wrong")
        await page.evaluate("window.wrongMs = 0")
        await current(page)


async def test_flags_that_are_lost_are_told_until_the_whole_map_comes(page: Page, room: Room) -> None:
    await opened(page, room)
    await page.evaluate(_LOSE_FLAGS)
    await expect(page.locator("#enface .veil")).to_contain_text("3 messages lost")
    await picture(page, "trust-flags-lost")
    await page.evaluate("window.losesMaps = false")
    await expect(page.locator("#enface")).not_to_have_attribute("data-stale", "")
    await expect(page.locator(".chip", has_text="Not received here")).to_contain_text("3")


async def test_another_specimen_on_the_stage_takes_away_what_was_said_of_the_one_before(
    still_page: Page, still: Room
) -> None:
    case = await _retained(still, still.topics.case)
    await _say(still, still.topics.case, {**case, "specimen_id": "specimen-2"})
    await expect(tile(still_page, "superior").locator(".tile-why")).to_have_text("of another specimen")
    await expect(tile(still_page, "superior")).to_have_attribute("data-verdict", "")
    await picture(still_page, "trust-other-specimen")
    await _say(still, still.topics.case, case)
    await judged(still_page, "superior")


@pytest.mark.parametrize("newer", ["$description", "verdict/superior"])
async def test_what_is_newer_than_the_page_is_not_shown(still_page: Page, still: Room, newer: str) -> None:
    topic = f"{still.topics.base}/{newer}"
    said = await _retained(still, topic)
    await _say(still, topic, {**said, "schema": 2})
    words = "it is of version 2, and this display knows version 1: update the display"
    where = still_page.locator("#trust") if newer == "$description" else tile(still_page, "superior")
    await expect(where).to_contain_text(words)
    await expect(tile(still_page, "superior")).to_have_attribute("data-verdict", "")
    await _say(still, topic, said)
    await judged(still_page, "superior")


async def test_a_page_that_is_loaded_anew_shows_what_is_true(page: Page, room: Room) -> None:
    await opened(page, room)
    for face in ("superior", "inferior"):
        await judged(page, face)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".phase")).to_have_attribute("data-phase", "paused")
    # Of the face that is held the verdict is open.
    held = await page.locator(".phase").inner_text()
    face = "inferior" if held == "Paused superior" else "superior"
    for _ in range(3):
        await page.reload()
        await current(page)
        expected = await verdict_of(room, face)
        await expect(tile(page, face)).to_have_attribute("data-verdict", expected.verdict)
    await page.get_by_role("button", name="Resume").click()
    await room.unplug_console()
    await expect(page.locator("#trust")).to_contain_text("the console is gone")
    await page.reload()
    await not_current(page, "the console is gone")
    await room.plug_console()
    await current(page)


async def test_a_part_of_the_page_that_fails_is_told_across_the_page(page: Page, room: Room) -> None:
    await opened(page, room)
    await page.evaluate(_BREAK)
    await expect(page.locator("#failed")).to_contain_text("nothing that is shown is to be relied on")
    await picture(page, "trust-page-failed")
    # It does not look whole again by itself.
    await expect(page.locator("body")).to_have_attribute("data-failed", "")
    await page.get_by_role("button", name="Reload").click()
    await current(page)
    await expect(page.locator("#failed")).to_be_hidden()
