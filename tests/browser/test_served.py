"""The daemon serves the page, and a browser on it speaks MQTT with the room's broker."""

from __future__ import annotations

from playwright.async_api import Page, expect
from tests.browser.conftest import Room
from tests.browser.looking import COMES_MS

_CONNECT = """async () => {
    const way = new WebSocket(`ws://${location.host}/mqtt`, "mqtt");
    way.binaryType = "arraybuffer";
    // MQTT 5: CONNECT with an empty client identifier.
    const hello = [0x10, 13, 0, 4, 77, 81, 84, 84, 5, 2, 0, 60, 0, 0, 0];
    return await new Promise((resolve, reject) => {
        way.onopen = () => way.send(new Uint8Array(hello));
        way.onmessage = (event) => resolve([...new Uint8Array(event.data)]);
        way.onclose = (event) => reject(new Error(`closed: ${event.code}`));
    });
}"""
_FOREIGN = """async () => {
    try { await fetch("http://127.0.0.1:1/"); return "fetched"; } catch (error) { return "refused"; }
}"""


async def test_the_page_says_what_it_is(page: Page) -> None:
    await expect(page.locator("body")).to_contain_text("Not a medical device", timeout=COMES_MS)


async def test_the_browser_reaches_the_broker_through_the_page_s_own_server(page: Page) -> None:
    answer = await page.evaluate(_CONNECT)
    # CONNACK of MQTT 5, success.
    assert answer[0] == 0x20
    assert answer[3] == 0


async def test_the_page_s_policy_keeps_it_at_home(page: Page) -> None:
    async with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        assert await page.evaluate(_FOREIGN) == "refused"


async def test_a_page_is_there_again_when_the_daemon_is(page: Page, room: Room) -> None:
    await room.kill_daemon()
    await room.start_daemon()
    await page.reload()
    await expect(page.locator("body")).to_contain_text("Not a medical device", timeout=COMES_MS)
