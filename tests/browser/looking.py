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
# The page's own notes, by a clock that nobody sets: when it was told last how things are, and when it became grey.
_WATCH = """() => {
    const { store } = window.octmargin;
    const add = store.add.bind(store);
    window.heardMs = performance.now();
    window.becameGreyMs = null;
    store.add = (event) => {
        const isLive = ["flag", "health"].includes(event.type) && !event.retained;
        if (isLive && window.becameGreyMs === null) window.heardMs = performance.now();
        add(event);
    };
    const note = () => {
        if (document.body.dataset.live === "false") window.becameGreyMs ??= performance.now();
    };
    new MutationObserver(note).observe(document.body, { attributeFilter: ["data-live"] });
}"""


async def opened(page: Page, room: Room) -> Page:
    """The page once it shows something current."""
    await page.goto(room.url)
    await current(page)
    return page


async def current(page: Page) -> None:
    await expect(page.locator("body")).to_have_attribute("data-live", "true", timeout=COMES_MS)


async def not_current(page: Page, reason: str) -> None:
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
    """From now on `grey_after_s` can tell when the page became grey."""
    await page.evaluate(_WATCH)


async def grey_after_s(page: Page) -> float:
    """So long after the page had heard that all is well, in s, it was grey; by its own clock."""
    # A function, since the page's policy lets nobody evaluate a text.
    await page.wait_for_function("() => window.becameGreyMs !== null", timeout=COMES_MS)
    after_ms: float = await page.evaluate("window.becameGreyMs - window.heardMs")
    return after_ms / 1000


async def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where OCTMARGIN_SCREENSHOTS names a folder."""
    folder = os.environ.get("OCTMARGIN_SCREENSHOTS")
    if folder:
        # Playwright makes the folder where there is none.
        await page.screenshot(path=f"{folder}/{name}.png")
