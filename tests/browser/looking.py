"""How a test looks at the page: what it says, when it changed, what it looks like."""

from __future__ import annotations

import asyncio
import os
import re

from playwright.async_api import Locator, Page, expect
from tests.browser.conftest import Room

from octmargin.bus.events import VerdictReceived
from octmargin.bus.messages import VerdictMessage

GREY_WITHIN_S = 2.0
"""What is not current any more is grey, and says why."""
COMES_MS = 60_000
"""A guard: a face of the small phantom takes a few seconds, where nothing else is done."""
expect.set_options(timeout=COMES_MS)

_SOME_VERDICT = re.compile("suspicious|indeterminate")
# The page's own notes, by a clock that nobody sets: when it was told last how things are, and how often it looked too
# long after that without being grey. Frames and timers come late where much else is done; at which look it sees that
# nothing is current any more does not depend on it.
_WATCH = """async () => {
    const { LOOK_EVERY_MS, SILENCE_LIMIT_S } = await import("/static/trust.js");
    const { store } = window.octmargin;
    const notes = {
        heardMs: performance.now(),
        isTold: true,
        isGrey: false,
        lateLooks: 0,
        needsMs: 1000 * SILENCE_LIMIT_S + LOOK_EVERY_MS,
    };
    window.trustNotes = notes;
    const add = store.add.bind(store);
    store.add = (event) => {
        add(event);
        const isLive = ["flag", "health"].includes(event.type) && !event.retained;
        if (isLive && notes.isTold) notes.heardMs = performance.now();
    };
    const takeDirty = store.takeDirty.bind(store);
    store.takeDirty = () => {
        const dirty = takeDirty();
        const isLate = performance.now() - notes.heardMs > 1000 * SILENCE_LIMIT_S;
        if (dirty.has("trust") && isLate && !notes.isGrey) notes.lateLooks += 1;
        return dirty;
    };
    const note = () => { notes.isGrey ||= document.body.dataset.live === "false"; };
    new MutationObserver(note).observe(document.body, { attributeFilter: ["data-live"] });
}"""


async def opened(page: Page, room: Room) -> Page:
    """The page once it shows something current."""
    await page.goto(room.url)
    await current(page)
    return page


async def current(page: Page) -> None:
    await expect(page.locator("body")).to_have_attribute("data-live", "true", timeout=COMES_MS)


async def not_current(page: Page, reason: str | re.Pattern[str]) -> None:
    """Everything is grey, for this reason: neither a word nor a colour says that anything is good."""
    await expect(page.locator("#trust")).to_contain_text(reason)
    assert await page.locator('[data-verdict="nothing_suspicious"], [data-verdict="suspicious"]').count() == 0
    assert "Nothing suspicious" not in await page.inner_text("main")


def tile(page: Page, face: str) -> Locator:
    return page.locator(f'.tile[data-face="{face}"]')


async def judged(page: Page, face: str) -> None:
    """The sweep of a face is complete, and its verdict is there."""
    await expect(tile(page, face)).to_have_attribute("data-verdict", _SOME_VERDICT, timeout=COMES_MS)


async def verdict_of(room: Room, face: str) -> VerdictMessage:
    """What the bus says of a face now, to somebody else."""
    async with asyncio.timeout(COMES_MS / 1000), room.events() as heard:
        while True:
            event = await heard.get()
            if isinstance(event, VerdictReceived) and event.message.face == face:
                return event.message


async def watch_trust(page: Page) -> None:
    """From now on `grey_in_time` can tell how the page became grey."""
    await page.evaluate(_WATCH)


async def grey_in_time(page: Page) -> None:
    """It became grey at the first look at which it had to, and it looks often enough for that."""
    # A function, since the page's policy lets nobody evaluate a text.
    await page.wait_for_function("() => window.trustNotes.isGrey", timeout=COMES_MS)
    notes = await page.evaluate("window.trustNotes")
    assert notes["lateLooks"] <= 1
    assert notes["needsMs"] < 1000 * GREY_WITHIN_S


async def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where OCTMARGIN_SCREENSHOTS names a folder."""
    folder = os.environ.get("OCTMARGIN_SCREENSHOTS")
    if folder:
        # Playwright makes the folder where there is none.
        await page.screenshot(path=f"{folder}/{name}.png")
