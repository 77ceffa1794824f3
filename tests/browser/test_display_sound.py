"""Technical alarms are heard where somebody switched that on, in the rhythm of their priority; a margin never is."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import aiomqtt
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect
from tests.browser.conftest import Room, blank_page, room_of
from tests.browser.looking import COMES_MS, judged, opened, picture
from tests.unit.bus.examples import alarm as example_alarm

from octmargin.bus.codec import encode
from octmargin.bus.publisher import utc_now

# Notes when the browser is asked to sound what; it sounds it all the same.
_LISTEN = """
    window.pulses = [];
    window.silenced = 0;
    const { disconnect } = GainNode.prototype;
    GainNode.prototype.disconnect = function () {
        window.silenced += 1;
        return disconnect.call(this);
    };
    const Socket = window.WebSocket;
    window.WebSocket = class extends Socket {
        constructor(...how) {
            super(...how);
            window.socket = this;
        }
    };
    const { start, stop } = OscillatorNode.prototype;
    OscillatorNode.prototype.start = function (at) {
        this.noted = { fromS: at, hz: this.frequency.value, context: this.context };
        window.pulses.push(this.noted);
        return start.call(this, at);
    };
    OscillatorNode.prototype.stop = function (at) {
        this.noted.toS = at;
        return stop.call(this, at);
    };
"""
_BURST = """count => {
    if (window.pulses.length < count) return null;
    const beganS = window.pulses[0].fromS;
    return window.pulses.map(({ fromS, toS, hz }) => [fromS - beganS, toS - fromS, hz]);
}"""
Say = Callable[..., Awaitable[None]]
# Whether after so many pulses there is one as long as the first.
_AS_AT_FIRST = """count => {
    const lengthsS = window.pulses.map(({ fromS, toS }) => toS - fromS);
    return lengthsS.slice(count).some((lengthS) => Math.abs(lengthS - lengthsS[0]) < 1e-6);
}"""
# The connection breaks; what is heard behind the next one is noted.
_CONNECT_ANEW = """() => {
    const { store } = window.octmargin;
    const add = store.add.bind(store);
    window.toldAnew = new Set();
    let isBack = false;
    store.add = (event) => {
        add(event);
        isBack ||= event.type === "connected";
        if (isBack) window.toldAnew.add(event.type);
    };
    window.socket.close();
}"""
# Alarms, and that the scanner lives, after which no alarm is missing any more; and that the page was drawn since.
_IS_TOLD_ANEW = """() => {
    if (!window.toldAnew.has("alarm") || !window.toldAnew.has("health")) return false;
    window.drawings = (window.drawings ?? 0) + 1;
    return window.drawings > 3;
}"""
PAUSED = re.compile(r"^Alarm sound paused, [12]:\d\d$")
PULSES = {"high": 10, "medium": 3, "low": 2}


@pytest_asyncio.fixture(loop_scope="session")
async def listening(browser: Browser, room: Room) -> AsyncIterator[Page]:
    async with blank_page(browser) as page:
        await page.add_init_script(_LISTEN)
        yield await opened(page, room)


@asynccontextmanager
async def alarm(
    room: Room, priority: Literal["high", "medium", "low"], name: str = "interlock"
) -> AsyncIterator[Say]:
    """One that is said in the scanner's name, while entered; what it gives says it anew, with changes.

    Not retained: else the daemon took it back.
    """
    broker, topic, now = room.broker_settings, room.topics.alarm(name), utc_now()
    stamps = {"session": "run-1", "published_at": now, "valid_until": now + timedelta(hours=1)}

    async def say(**changes: Any) -> None:
        said = example_alarm(name, **({"priority": priority} | changes), **stamps)
        await client.publish(topic, encode(said), qos=1)

    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await say()
        try:
            yield say
        finally:
            await say(active=False)


async def first_burst(page: Page, count: int) -> list[tuple[float, float, float]]:
    """All pulses as soon as there are so many: when each begins after the first, how long it is, in s; its tone, Hz."""
    found = await page.wait_for_function(_BURST, arg=count, timeout=COMES_MS)
    return [tuple(each) for each in await found.json_value()]


def sound(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("^Alarm sound"))


def pause(page: Page) -> Locator:
    """To be seen while an alarm is heard."""
    return page.get_by_role("button", name="Pause the alarm sound for 2 minutes", include_hidden=True)


async def switched_on(page: Page) -> None:
    await expect(sound(page)).to_have_text("Alarm sound off")
    await sound(page).click()
    await expect(sound(page)).to_have_text("Alarm sound on")


async def pulses(page: Page) -> int:
    count: int = await page.evaluate("window.pulses.length")
    return count


async def test_it_is_silent_until_a_person_switches_it_on(listening: Page, room: Room) -> None:
    async with alarm(room, "high"):
        await expect(listening.locator('.alarm[data-priority="high"]')).to_be_visible()
        await expect(sound(listening)).to_have_text("Alarm sound off")
        await judged(listening, "superior")
        assert await pulses(listening) == 0
        await switched_on(listening)
        await first_burst(listening, PULSES["high"])
        await picture(listening, "sound-on")
        # It is off again where the page is loaded anew, and says so.
        await listening.reload()
        await expect(sound(listening)).to_have_text("Alarm sound off")


async def test_ten_pulses_of_high_priority_are_three_and_two_twice(listening: Page, room: Room) -> None:
    await switched_on(listening)
    async with alarm(room, "high"):
        burst = await first_burst(listening, PULSES["high"])
    # All of a burst are ordered at once, and the next one begins much later.
    assert len(burst) == PULSES["high"]
    begins_s = [begin for begin, _, _ in burst]
    steps_s = [after - before for before, after in itertools.pairwise(begins_s)]
    x_s, longer_s, half_s = steps_s[0], steps_s[2], steps_s[4]
    assert steps_s == pytest.approx([x_s, x_s, longer_s, x_s, half_s, x_s, x_s, longer_s, x_s])
    assert x_s < longer_s < half_s
    for _, length_s, hz in burst:
        assert 0.075 <= length_s <= 0.25
        assert 150 <= hz <= 1000


@pytest.mark.parametrize("priority", ["medium", "low"])
async def test_pulses_of_lower_priority_are_fewer_and_slower(
    listening: Page, room: Room, priority: Literal["medium", "low"]
) -> None:
    await switched_on(listening)
    async with alarm(room, priority):
        burst = await first_burst(listening, PULSES[priority])
        await expect(listening.locator(f'.alarm[data-priority="{priority}"]')).to_be_visible()
    assert len(burst) == PULSES[priority]
    steps_s = [after[0] - before[0] for before, after in itertools.pairwise(burst)]
    assert steps_s == pytest.approx([steps_s[0]] * len(steps_s))
    assert 0.25 <= steps_s[0] <= 0.5


async def test_a_graver_alarm_is_heard_at_once_and_the_one_before_when_it_is_over(
    listening: Page, room: Room
) -> None:
    await switched_on(listening)
    async with alarm(room, "low", "recorder"):
        await first_burst(listening, PULSES["low"])
        async with alarm(room, "high"):
            await first_burst(listening, PULSES["low"] + PULSES["high"])
        await expect(listening.locator(".alarm")).to_have_count(1)
        await listening.wait_for_function(_AS_AT_FIRST, arg=PULSES["low"] + PULSES["high"], timeout=COMES_MS)
    await expect(listening.locator(".alarm")).to_have_count(0)
    await expect(pause(listening)).to_be_hidden()


async def test_an_alarm_that_is_acknowledged_is_not_heard_any_more(listening: Page, room: Room) -> None:
    await switched_on(listening)
    async with alarm(room, "medium") as say:
        await first_burst(listening, PULSES["medium"])
        await expect(pause(listening)).to_be_visible()
        # By somebody else, at another display.
        await say(acknowledged_by="rita")
        await expect(listening.locator(".alarm")).to_contain_text("acknowledged by rita")
        await expect(pause(listening)).to_be_hidden()
        await expect(sound(listening)).to_have_text("Alarm sound on")


async def test_a_pause_says_how_long_it_is_and_ends_with_another_alarm(listening: Page, room: Room) -> None:
    await switched_on(listening)
    async with alarm(room, "medium"):
        await first_burst(listening, PULSES["medium"])
        await pause(listening).click()
        await expect(sound(listening)).to_have_text(PAUSED)
        await picture(listening, "sound-paused")
        async with alarm(room, "medium", "outbox"):
            await expect(sound(listening)).to_have_text("Alarm sound on")
            await first_burst(listening, 2 * PULSES["medium"])
            await sound(listening).click()
            await expect(sound(listening)).to_have_text("Alarm sound off")


async def test_a_pause_ends_with_a_graver_state_of_the_same_alarm(listening: Page, room: Room) -> None:
    await switched_on(listening)
    async with alarm(room, "low") as say:
        await first_burst(listening, PULSES["low"])
        await pause(listening).click()
        await expect(sound(listening)).to_have_text(PAUSED)
        await say(priority="high")
        await expect(sound(listening)).to_have_text("Alarm sound on")
        await first_burst(listening, PULSES["low"] + PULSES["high"])


async def test_a_pause_outlasts_a_connection_that_is_made_anew(browser: Browser, tmp_path: Path) -> None:
    # Nothing is scanned, so that there is no other alarm than that of the console.
    async with (
        room_of(tmp_path, scan={"begin": "on-command"}) as room,
        blank_page(browser) as page,
    ):
        await page.add_init_script(_LISTEN)
        await opened(page, room)
        await switched_on(page)
        # Of this alarm the broker keeps what the daemon said.
        await room.unplug_console()
        await first_burst(page, PULSES["medium"])
        await pause(page).click()
        await expect(sound(page)).to_have_text(PAUSED)
        heard = await pulses(page)
        await page.evaluate(_CONNECT_ANEW)
        await page.wait_for_function(_IS_TOLD_ANEW, timeout=COMES_MS)
        await expect(sound(page)).to_have_text(PAUSED)
        assert await pulses(page) == heard


async def test_alarms_are_followed_where_nobody_sees_the_page(listening: Page, room: Room) -> None:
    await switched_on(listening)
    # A tab in the background is not drawn.
    await listening.evaluate("() => { window.requestAnimationFrame = () => 0; }")
    async with alarm(room, "medium") as say:
        await listening.wait_for_function(
            "(count) => window.pulses.length >= count", arg=PULSES["medium"], polling=100, timeout=COMES_MS
        )
        assert await listening.evaluate("window.silenced") == 0
        await say(acknowledged_by="rita")
        await listening.wait_for_function(
            "(count) => window.silenced >= count", arg=PULSES["medium"], polling=100, timeout=COMES_MS
        )


async def test_a_suspicious_margin_makes_no_sound(listening: Page, room: Room) -> None:
    await switched_on(listening)
    await expect(listening.locator('.tile[data-face="posterior"]')).to_have_attribute(
        "data-verdict", "suspicious"
    )
    await judged(listening, "superior")
    assert await pulses(listening) == 0
