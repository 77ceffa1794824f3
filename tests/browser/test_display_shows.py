"""The page shows a scan as it goes on, to as many displays as look at it."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import Room, screen
from tests.browser.looking import COMES_MS, current, judged, opened, picture, tile, verdict_of

FACES = ("superior", "inferior", "medial", "lateral", "anterior", "posterior")
_FIGURES = re.compile(r"^coverage [0-9.]+% ?depth [0-9.]+ mm$")
# Share of a canvas that has the colour of "nothing suspicious".
_CLEAR_SHARE = """() => {
    const canvas = document.querySelector(".map-cells");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) count += data[at] === 0 && data[at + 1] === 88 && data[at + 2] === 143;
    return count / (data.length / 4);
}"""
# Whether within one sweep the map has been seen to fill: three frames and more later there is more of it.
_FILLS = f"""() => {{
    const {{ tally, grid }} = window.octmargin.store;
    const frame = tally.lastFlag?.frame_index ?? -1;
    const share = ({_CLEAR_SHARE})();
    window.seen ??= [];
    window.seen.push({{ sweep: grid.sweep, frame, share }});
    const isOfThis = (then) => then.sweep === grid.sweep && then.share > 0;
    return window.seen.some((then) => isOfThis(then) && frame >= then.frame + 3 && share > then.share);
}}"""
_BSCAN_IS_DRAWN = """() => {
    const canvas = document.querySelector(".bscan");
    const { data } = canvas.getContext("2d").getImageData(0, 20, canvas.width, canvas.height - 60);
    let count = 0;
    const isGrey = (at) => data[at] > 40 && data[at] === data[at + 1] && data[at] === data[at + 2];
    for (let at = 0; at < data.length; at += 4) count += isGrey(at);
    return count > data.length / 400;
}"""


async def test_every_face_has_verdict_coverage_and_depth_in_view(page: Page, room: Room) -> None:
    await opened(page, room)
    for face in FACES:
        await judged(page, face)
        await expect(tile(page, face).locator(".tile-figures")).to_have_text(_FIGURES)
        await expect(tile(page, face)).to_be_in_viewport()
    expected = await verdict_of(room, "superior")
    await expect(tile(page, "superior")).to_have_attribute("data-verdict", expected.verdict)
    await picture(page, "six-faces")


async def test_what_must_always_be_in_view_is(page: Page, room: Room) -> None:
    await opened(page, room)
    await expect(page.locator(".synthetic")).to_be_in_viewport()
    await expect(page.locator("#notice")).to_have_text("Research use only. Not a medical device.")
    await expect(page.locator("#notice")).to_be_in_viewport()
    await expect(page.locator(".side")).to_have_text("SIDE NOT SAID")


async def test_the_map_fills_while_the_face_is_scanned(page: Page, room: Room) -> None:
    await opened(page, room)
    await page.wait_for_function(_FILLS, timeout=COMES_MS)


async def test_the_live_b_scan_follows_the_scan(page: Page, room: Room) -> None:
    await opened(page, room)
    await page.wait_for_function(_BSCAN_IS_DRAWN, timeout=COMES_MS)
    label = page.locator(".frame-label")
    first = await label.inner_text()
    await expect(label).not_to_have_text(first)
    await expect(page.locator(".live[data-moving]:visible")).to_have_text("Live")


async def test_a_b_scan_that_was_chosen_stays_while_the_scan_goes_on(page: Page, room: Room) -> None:
    await opened(page, room)
    await judged(page, "superior")
    await tile(page, "superior").click()
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("PageDown")
    await page.keyboard.press("PageUp")
    label = page.locator(".frame-label")
    await expect(label).to_contain_text(re.compile("Superior · B-scan [12] of 12"))
    await page.keyboard.press("End")
    await expect(label).to_contain_text("Superior · B-scan 12 of 12")
    await page.wait_for_function(_BSCAN_IS_DRAWN, timeout=COMES_MS)
    await judged(page, "lateral")
    await expect(label).to_contain_text("Superior · B-scan 12 of 12")
    await page.get_by_role("button", name="Back to live").click()
    await expect(page.locator(".live[data-moving]:visible")).to_have_text("Live")


async def test_a_place_on_the_map_is_a_b_scan(page: Page, room: Room) -> None:
    await opened(page, room)
    await judged(page, "superior")
    await tile(page, "superior").click()
    field = await page.locator(".map-over").bounding_box()
    assert field is not None
    await page.mouse.click(field["x"] + field["width"] / 2, field["y"] + field["height"] * 5.5 / 12)
    await expect(page.locator(".frame-label")).to_contain_text("B-scan 6 of 12")


async def test_two_displays_show_the_same_and_look_where_they_like(browser: Browser, room: Room) -> None:
    async with screen(browser, "wide") as one, screen(browser, "tablet") as two:
        first, second = await opened(await one.new_page(), room), await opened(await two.new_page(), room)
        for face in FACES[:2]:
            await judged(first, face)
            said = await tile(first, face).get_attribute("data-verdict")
            assert said is not None
            await expect(tile(second, face)).to_have_attribute("data-verdict", said)
        await tile(first, "superior").click()
        await expect(first.locator(".face-name")).to_have_text("Superior")
        await expect(second.locator(".live")).to_have_attribute("aria-pressed", "true")
        await first.close()
        await current(second)
