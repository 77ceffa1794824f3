"""The page is for everybody: read without colour and from afar, used without a mouse, on three sizes of screen."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import SCREENS, Room, room_of, screen
from tests.browser.looking import current, judged, not_current, opened, picture, tile

AXE = (Path(__file__).with_name("vendor") / "axe.min.js").read_text()
_AXE_RUN = """() => axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    rules: { "color-contrast-enhanced": { enabled: true } },
}).then(({ violations }) => violations.map(({ id, impact, nodes }) =>
    [id, impact, nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`)]))"""
# Contrast of every text in view with everything that may lie behind it, each colour of a gradient too.
_CONTRASTS = """() => {
    const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const colours = (text) => [...text.matchAll(/rgba?\\(([^)]+)\\)/g)].map(([, inside]) => {
        const [r, g, b, a = 1] = inside.split(",").map(Number);
        return [r, g, b, a];
    });
    const grounds = (node) => {
        for (let at = node; at !== null; at = at.parentElement) {
            const style = getComputedStyle(at);
            const behind = colours(style.backgroundImage + style.backgroundColor);
            const seen = behind.filter((colour) => colour[3] > 0.7);
            if (seen.length) return seen;
        }
        return [[0, 0, 0]];
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { textContent, parentElement } = walker.currentNode;
        const isRead = textContent.trim() && parentElement.checkVisibility({ visibilityProperty: true });
        if (!isRead || parentElement.closest(".visually-hidden, script, noscript")) continue;
        const ink = light(colours(getComputedStyle(parentElement).color)[0]);
        for (const ground of grounds(parentElement)) {
            const [bright, dark] = [ink, light(ground)].sort((a, b) => b - a);
            const contrast = (bright + 0.05) / (dark + 0.05);
            if (contrast < 7) poor.push(`${textContent.trim()}: ${contrast.toFixed(1)} in ${parentElement.className}`);
        }
    }
    return poor;
}"""
_FOCUS = """() => {
    const at = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(at);
    const named = at.getAttribute("aria-label") || at.textContent.trim() || at.id;
    return [named, at === document.body, outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
}"""
_MUST_REACH = """() => [...document.querySelectorAll("button, input, summary, [tabindex='0'], [role=tab]")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled && each.tabIndex >= 0)
    .map((each) => each.getAttribute("aria-label") || each.textContent.trim() || each.id)"""
_OVERFLOWS = """() => {
    const out = [];
    const large = ".tile-word, .tile-face, .verdict-word, .face-name, .side, .notice, .synthetic";
    for (const node of document.querySelectorAll(large)) {
        const box = node.getBoundingClientRect();
        const cut = node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== "inline";
        const tile = node.closest(".tile")?.getBoundingClientRect();
        const outside = tile && (box.right > tile.right + 1 || box.bottom > tile.bottom + 1);
        const isBad = cut || outside || box.right > innerWidth + 1;
        if (box.width && isBad) out.push(`${node.className}: ${node.textContent}`);
    }
    if (document.documentElement.scrollWidth > innerWidth) out.push("the page is wider than the screen");
    return out;
}"""
# Texts of a tile that lie over each other, or are cut by it.
_GARBLED = """() => {
    const out = [];
    const parts = ".tile-face, .ink, .tile-word, .figure, .tile-why, .tile-reader, .tile-sign";
    for (const tile of document.querySelectorAll(".tile")) {
        const edge = tile.getBoundingClientRect();
        const isSeen = (each) => each.checkVisibility({ visibilityProperty: true });
        const isSign = (each) => each.matches("svg");
        const boxes = [...tile.querySelectorAll(parts)]
            .filter((each) => isSeen(each) && (isSign(each) || each.textContent))
            .map((each) => {
                const range = document.createRange();
                range.selectNodeContents(each);
                const what = isSign(each) ? each : range;
                return [each.textContent || "sign", what.getBoundingClientRect()];
            });
        boxes.forEach(([text, box], place) => {
            const isBeside = box.left < edge.left || box.right > edge.right;
            const isOver = box.top < edge.top || box.bottom > edge.bottom;
            if (isBeside || isOver) out.push(`${text} is cut in ${tile.dataset.face}`);
            for (const [other, beside] of boxes.slice(place + 1)) {
                const wide = Math.min(box.right, beside.right) - Math.max(box.left, beside.left);
                const high = Math.min(box.bottom, beside.bottom) - Math.max(box.top, beside.top);
                if (wide > 1 && high > 4) out.push(`${text} lies over ${other} in ${tile.dataset.face}`);
            }
        });
    }
    return out;
}"""
# What is read from afar and is smaller than so many px.
_AFAR = ".tile-face, .tile-word, .figure, .face-name, .verdict-word, .figures dd"
_SMALL_FROM_AFAR = f"""(least) => [...document.querySelectorAll("{_AFAR}")]
    .filter((each) => each.checkVisibility() && parseFloat(getComputedStyle(each).fontSize) < least)
    .map((each) => `${{each.className}} ${{each.textContent}}: ${{getComputedStyle(each).fontSize}}`)"""
# Maps that have not the shape of the face.
_DISTORTED = """() => {
    const { width_mm: wide, height_mm: high } = window.octmargin.store.tally.description.scan;
    return [...document.querySelectorAll(".tile-map, .map-cells")].flatMap((each) => {
        const box = each.getBoundingClientRect();
        const isOff = Math.abs(box.width - (box.height * wide) / high) > 2;
        return isOff ? [`${each.className}: ${box.width} x ${box.height}`] : [];
    });
}"""
_PERIOD_S = "(node) => parseFloat(getComputedStyle(node).animationDuration)"
_MOTIONS = "() => document.getAnimations().filter(({ playState }) => playState === 'running').length"
FACES = ("superior", "inferior", "medial", "lateral", "anterior", "posterior")
DRESSED: dict[str, Any] = {
    "case": {"laterality": "left", "orientation": "short superior, long lateral", "label": "main"},
    "orientation": {"ink": dict.fromkeys(FACES, "yellow"), "sutures": "short superior, long lateral"},
}


@asynccontextmanager
async def _scanned(browser: Browser, room: Room, size: str) -> AsyncIterator[Page]:
    """A page on a screen of that size, on which all six faces have been scanned."""
    async with screen(browser, size) as context:
        page = await opened(await context.new_page(), room)
        for face in FACES:
            await judged(page, face)
        yield page


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    """A room that says of its specimen all there is to say."""
    async with room_of(tmp_path_factory.mktemp("dressed"), **DRESSED) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def dressed(room: Room) -> AsyncIterator[Room]:
    """The same, and whole again when the test is over."""
    yield room
    await room.mend()


async def _violations(page: Page) -> list[Any]:
    await page.evaluate(AXE)
    found: list[Any] = await page.evaluate(_AXE_RUN)
    return found


async def test_on_every_screen_all_is_legible_and_nothing_is_cut(browser: Browser, dressed: Room) -> None:
    for size, (width, height) in SCREENS.items():
        async with _scanned(browser, dressed, size) as page:
            await picture(page, f"size-{size}")
            assert await page.evaluate(_OVERFLOWS) == [], size
            assert await page.evaluate(_GARBLED) == [], size
            assert await page.evaluate(_SMALL_FROM_AFAR, max(16, width / 80)) == [], size
            assert await page.evaluate(_DISTORTED) == [], size
            assert await page.evaluate(_CONTRASTS) == [], size
            assert await _violations(page) == [], size
            for selector in (".synthetic", "#notice", ".side", ".verdict-word", ".map-over", ".bscan"):
                box = await page.locator(selector).first.bounding_box()
                assert box is not None, selector
                # On a tablet the foot lies over the end of the page.
                foot = await page.locator(".foot").bounding_box()
                assert foot is not None
                assert box["y"] + min(box["height"], 20) <= (
                    height if selector == "#notice" else foot["y"]
                ), f"{selector} is not in view on the {size} screen"


@pytest.mark.parametrize("size", SCREENS)
async def test_whatever_is_gone_no_text_lies_over_another(browser: Browser, dressed: Room, size: str) -> None:
    async with _scanned(browser, dressed, size) as page:
        # A tile that has most to say: what it was, and why it is not current.
        await expect(page.locator('.tile[data-verdict="suspicious"]').first).to_be_visible()
        await dressed.stop_broker()
        await not_current(page, "no connection")
        assert await page.evaluate(_GARBLED) == []
        assert await page.evaluate(_OVERFLOWS) == []
        # What holds for everything is said once.
        assert (await page.inner_text("body")).count("the broker cannot be reached") == 1
        await picture(page, f"gone-broker-{size}")
        await dressed.start_broker()
        await current(page)
        await dressed.unplug_console()
        await expect(page.locator(".alarm").first).to_be_visible()
        await not_current(page, "the console is gone")
        assert await page.evaluate(_GARBLED) == []
        assert await page.evaluate(_OVERFLOWS) == []
        await picture(page, f"gone-console-{size}")


async def test_what_is_stale_or_wrong_is_legible_too(browser: Browser, dressed: Room) -> None:
    async with _scanned(browser, dressed, "wide") as page:
        await dressed.unplug_console()
        await expect(page.locator(".alarm").first).to_be_visible()
        await expect(page.locator("#trust")).to_be_visible()
        assert await page.evaluate(_CONTRASTS) == []
        assert await _violations(page) == []
        await page.get_by_role("button", name=re.compile("Acknowledge")).first.click()
        await expect(page.locator(".alarm").first).to_contain_text("acknowledged by local")
        assert await page.evaluate(_CONTRASTS) == []
        await picture(page, "alarm-acknowledged")
        await page.get_by_text("Details", exact=True).click()
        await page.get_by_role("tab", name="Photo").click()
        assert await page.evaluate(_CONTRASTS) == []
        assert await _violations(page) == []
        await picture(page, "details")


async def test_everything_is_reached_with_the_keyboard_and_the_focus_is_seen(
    browser: Browser, dressed: Room
) -> None:
    async with _scanned(browser, dressed, "wide") as page:
        # An alarm of the test before goes when the console is back, and its button with it.
        await expect(page.locator(".alarm")).to_have_count(0)
        # Nothing that comes and goes while a face is scanned.
        wanted = [name for name in await page.evaluate(_MUST_REACH) if "Key view" not in name]
        reached: list[str] = []
        # One round passes over what is not there just then: the page is grey, or the face that is shown is scanned.
        for _ in range(20 * len(wanted)):
            await page.keyboard.press("Tab")
            name, is_nowhere, is_seen = await page.evaluate(_FOCUS)
            if is_nowhere:
                continue
            assert is_seen, f"the focus on {name} cannot be seen"
            reached.append(name)
            if all(each in reached or _is_moving(each) for each in wanted):
                break
        # What is still called so: reasons of a verdict that can be scrolled are named by their words.
        there = await page.evaluate(_MUST_REACH)
        missing = [name for name in wanted if name in there and name not in reached and not _is_moving(name)]
        assert missing == []


def _is_moving(name: str) -> bool:
    """Whether a control says something else every moment: the map, the tiles."""
    return any(
        word in name
        for word in (
            "map",
            "visualised depth",
            *(face.capitalize() for face in FACES),
            "Agree",
            "Disagree",
            "Unsure",
        )
    )


async def test_a_dialog_is_worked_with_the_keys_and_gives_the_focus_back(
    browser: Browser, tmp_path: Path
) -> None:
    async with room_of(tmp_path, scan={"begin": "on-command"}) as room, screen(browser) as context:
        page = await opened(await context.new_page(), room)
        await expect(page.locator(".specimen")).to_have_text("No specimen registered")
        await picture(page, "nothing-registered")
        await page.get_by_role("button", name="New specimen").focus()
        await page.keyboard.press("Enter")
        assert await _violations(page) == []
        assert await page.evaluate(_CONTRASTS) == []
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_role("button", name="New specimen")).to_be_focused()
        await page.keyboard.press("Enter")
        # Kind, side, orientation, label, identifier, Cancel, Register.
        for key in ("Tab", "Space", *["Tab"] * 4, "Tab", "Enter"):
            await page.keyboard.press(key)
        await expect(page.locator(".side")).to_have_text("LEFT")


async def test_nothing_moves_where_a_person_wants_no_motion(browser: Browser, dressed: Room) -> None:
    async with screen(browser) as moving, screen(browser, reduced_motion="reduce") as at_rest:
        pages = [await opened(await context.new_page(), dressed) for context in (moving, at_rest)]
        await dressed.unplug_console()
        for page in pages:
            await expect(page.locator(".alarm").first).to_be_visible()
        await pages[0].wait_for_function(f"() => ({_MOTIONS})() > 0")
        assert await pages[1].evaluate(_MOTIONS) == 0


async def test_alarms_flash_as_the_standard_has_it_and_no_faster_than_is_safe(
    browser: Browser, dressed: Room
) -> None:
    async with _scanned(browser, dressed, "small") as page:
        await dressed.unplug_console()
        await expect(page.locator(".alarm").first).to_have_attribute("data-priority", "medium")
        period_s = await page.locator(".alarm-sign").first.evaluate(
            "(node) => parseFloat(getComputedStyle(node).animationDuration)"
        )
        # IEC 60601-1-8: medium 0.4 to 0.8 Hz.
        assert 0.4 <= 1 / period_s <= 0.8
        await expect(tile(page, "superior")).to_have_attribute("data-verdict", "")
