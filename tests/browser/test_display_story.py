"""A whole specimen through the page: registered, scanned, looked at, decided about, scanned again, closed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import SMALL_PHANTOM, Room, blank_page, room_of
from tests.browser.looking import COMES_MS, current, judged, opened, picture, tile, verdict_of
from tests.unit.bus.conftest import mosquitto_path
from tests.unit.site.conftest import USERS, Prepared, prepared

from octmargin.bus.decisions import DecisionMessage
from octmargin.bus.events import DecisionReceived
from octmargin.site.clients import PASSWORD_FILE
from octmargin.site.users import User

FACES = ("superior", "inferior", "medial", "lateral", "anterior", "posterior")
ON_COMMAND = {"begin": "on-command"}
ORIENTATION = {"ink": {"superior": "red", "posterior": "black"}, "sutures": "short superior, long lateral"}
# A command that the network delivers twice.
_DELIVER_TWICE = """() => {
    const { link } = window.octmargin;
    const publish = link.publish.bind(link);
    link.publish = async (...command) => { await publish(...command); await publish(...command); };
}"""
_REGISTER = """label => window.octmargin.commands
    .give('register', { kind: 'lumpectomy', laterality: 'left', label })
    .then(({ outcome, reason }) => outcome === 'done' ? outcome : reason)"""
_REGISTER_AS = """specimen_id => window.octmargin.commands
    .give('register', { kind: 'lumpectomy', laterality: 'left', specimen_id })
    .then(({ outcome, reason }) => outcome === 'done' ? outcome : reason)"""
_BEGAN = re.compile("lifecycle.*state=acquiring")
# Started and held before the first frame is over, without a way to the test and back between them.
_START_HELD = """face => {
    const { commands } = window.octmargin;
    const given = [commands.give('start', { face }), commands.give('pause')];
    return Promise.all(given).then((replies) => replies.map(({ outcome }) => outcome));
}"""
# Whoever taps twice: what stands there when the phase has changed is clicked, and the pedal is pressed, at once.
_TAP_AT_ONCE = """phase => {
    const shown = document.querySelector(".phase");
    new MutationObserver(() => {
        if (shown.dataset.phase !== phase || window.tapped) return;
        // Behind the drawing of all parts, which is one task.
        setTimeout(() => {
            document.querySelector('[data-command="resume"]').click();
            document.dispatchEvent(new KeyboardEvent("keydown", { key: "F9" }));
            window.tapped = true;
        });
    }).observe(shown, { attributeFilter: ["data-phase"] });
}"""
# Replies do not come to the page until it has lost its connection.
_LOSE_REPLIES = """() => {
    const { commands } = window.octmargin;
    const { takeReply, connectionLost } = commands;
    commands.takeReply = () => {};
    commands.connectionLost = () => {
        commands.takeReply = takeReply;
        connectionLost.call(commands);
    };
}"""
# Somebody who goes around what the page offers.
_FORCE = "() => window.octmargin.commands.give('start', { all: true }).then(({ outcome }) => outcome)"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    """A room in which nothing happens but what is asked for; each test registers a specimen of its own."""
    folder = tmp_path_factory.mktemp("on-command")
    async with room_of(folder, scan=ON_COMMAND, orientation=ORIENTATION) as running:
        yield running


async def _register(page: Page, label: str = "main") -> None:
    await page.get_by_role("button", name="New specimen").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("radio", name="Left").check()
    await dialog.get_by_label("Orientation").fill("short superior, long lateral")
    await dialog.get_by_label("Label").fill(label)
    await picture(page, "register")
    before = await page.locator(".specimen").text_content()
    await dialog.get_by_role("button", name="Register").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".specimen")).not_to_have_text(before or "")
    await expect(page.locator(".side")).to_have_text("LEFT")


async def _confirm(page: Page, action: str) -> None:
    await page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()


async def _reply(page: Page, text: str) -> None:
    await expect(page.locator(".reply").first).to_contain_text(text)


async def _phase(page: Page, phase: str) -> None:
    await expect(page.locator(".phase")).to_have_attribute("data-phase", phase)


async def _settled(page: Page, phase: str) -> None:
    """It is in this phase, and hands and feet are obeyed again."""
    await _phase(page, phase)
    await expect(page.locator("#controls button[aria-disabled]")).to_have_count(0)


async def _said_by_readers(room: Room, face: str) -> DecisionMessage:
    async with room.events() as heard:
        while True:
            event = await heard.get()
            if isinstance(event, DecisionReceived) and event.message.face == face:
                return event.message


async def test_a_specimen_from_its_registration_to_its_end(page: Page, room: Room) -> None:
    await opened(page, room)
    await _register(page)
    await _reply(page, "Register: done")
    await expect(page.locator(".tile")).to_have_count(6)
    await expect(tile(page, "superior").locator(".ink")).to_have_text("red")

    await page.get_by_role("button", name="Start all remaining").click()
    await page.get_by_role("dialog").get_by_role("button", name="Start").click()
    await _reply(page, "Start: done")
    await picture(page, "story-2-scanning")
    for face in FACES:
        await judged(page, face)
    await _phase(page, "idle")
    await picture(page, "story-3-six-faces")

    await expect(tile(page, "posterior")).to_have_attribute("data-verdict", "suspicious")
    await tile(page, "posterior").click()
    await expect(page.locator(".verdict-word")).to_have_text("Suspicious")
    view = page.locator(".keyview").first
    await view.click()
    expected = await verdict_of(room, "posterior")
    await expect(page.locator(".frame-label")).to_contain_text(
        f"B-scan {expected.key_views[0].frame + 1} of 12"
    )

    await page.get_by_label("Note to the decision").fill("cautery")
    await page.get_by_role("button", name="Disagree", exact=True).click()
    await _reply(page, "Decide: done")
    await expect(view).to_contain_text("local disagrees")
    await expect(page.locator(".said")).to_contain_text("cautery")
    await tile(page, "posterior").click()
    await page.get_by_role("button", name="Unsure", exact=True).click()
    await expect(tile(page, "posterior").locator(".tile-reader")).to_have_text("local is unsure")
    # What the reader says stands beside what the algorithm says, and changes nothing of it.
    await expect(tile(page, "posterior")).to_have_attribute("data-verdict", "suspicious")
    await picture(page, "story-4-decided")
    said = await _said_by_readers(room, "posterior")
    assert [(each.subject, each.word, each.note) for each in said.decisions] == [
        ("cluster", "disagree", "cautery"),
        ("face", "unsure", ""),
    ]

    await page.get_by_role("button", name="Rescan posterior").click()
    await picture(page, "story-5-confirm-rescan")
    await _confirm(page, "Rescan")
    await expect(page.locator(".said li").first).to_contain_text("of an earlier sweep")
    await _phase(page, "idle")
    await judged(page, "posterior")
    assert (await verdict_of(room, "posterior")).sweep > expected.sweep
    await expect(tile(page, "posterior").locator(".tile-reader")).to_be_hidden()

    await page.get_by_role("button", name="Close specimen").click()
    await _confirm(page, "Close")
    await _phase(page, "closed")
    await picture(page, "story-6-closed")
    await _register(page, "shave")
    await expect(page.locator(".tile[data-empty]")).to_have_count(6)


async def test_a_region_is_marked_by_hand_and_with_the_keys(page: Page, room: Room) -> None:
    await opened(page, room)
    await _register(page)
    await tile(page, "medial").click()
    await page.get_by_role("button", name="Start medial").click()
    await judged(page, "medial")
    await _phase(page, "idle")

    field = await page.locator(".map-over").bounding_box()
    assert field is not None
    at = lambda frame, block: (  # noqa: E731 - a place on the map
        field["x"] + field["width"] * (block + 0.5) / 4,
        field["y"] + field["height"] * (frame + 0.5) / 12,
    )
    await page.get_by_role("button", name="Mark a region").click()
    await page.mouse.move(*at(2, 1))
    await page.mouse.down()
    await page.mouse.move(*at(4, 3), steps=4)
    await page.mouse.up()
    await page.get_by_label("Note", exact=True).fill("look again")
    await _confirm(page, "Save")
    await _reply(page, "Mark: done")
    await expect(page.locator(".said")).to_contain_text("look again")

    await page.get_by_role("button", name="Mark a region").click()
    for key in ("ArrowLeft", "ArrowLeft", "Enter", "ArrowRight", "ArrowDown", "Enter"):
        await page.keyboard.press(key)
    await _confirm(page, "Save")
    await expect(page.locator(".said li")).to_have_count(2)
    await picture(page, "marked")
    marks = (await _said_by_readers(room, "medial")).marks
    drawn = marks[0]
    assert (drawn.first_frame, drawn.last_frame, drawn.first_block, drawn.last_block) == (2, 4, 1, 3)
    assert drawn.note == "look again"
    assert (marks[1].first_block, marks[1].last_block) == (0, 1)


async def test_the_pedal_starts_holds_and_goes_on_and_refusals_are_told(
    browser: Browser, tmp_path: Path
) -> None:
    slow = {**ON_COMMAND, "line_rate_hz": 150.0}
    # A face of minutes: it is not over before it is stopped, however slow the machine is.
    long_face = (*SMALL_PHANTOM[:-1], "240")
    async with room_of(tmp_path, simulate=long_face, scan=slow) as room, blank_page(browser) as page:
        await opened(page, room)
        await _register(page)
        await tile(page, "lateral").click()
        await page.get_by_role("button", name="Select lateral").click()
        await _reply(page, "Select: done")
        await page.keyboard.press("F9")
        await _settled(page, "scanning")
        await page.keyboard.press("F9")
        await _settled(page, "paused")
        await picture(page, "paused")
        await page.keyboard.press("F9")
        await _settled(page, "scanning")
        # Another display was quicker: what was on its way is refused, and the reason is told.
        await page.evaluate("() => void window.octmargin.commands.give('start', { face: 'medial' })")
        await expect(page.locator(".reply[data-outcome=refused]")).to_contain_text("Start: refused,")
        await picture(page, "refused")
        await page.get_by_role("button", name="Stop").click()
        await _confirm(page, "Stop")
        await _phase(page, "idle")


async def test_a_second_tap_or_press_that_meant_the_first_one_does_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    long_face = (*SMALL_PHANTOM[:-1], "240")
    async with room_of(tmp_path, simulate=long_face, scan=ON_COMMAND) as room, blank_page(browser) as page:
        await opened(page, room)
        await _register(page)
        await tile(page, "lateral").click()
        await page.get_by_role("button", name="Start lateral").click()
        await _settled(page, "scanning")
        # As soon as the page shows that it is held, the same place is tapped again, and the pedal pressed.
        await page.evaluate(_TAP_AT_ONCE, "paused")
        await page.get_by_role("button", name="Pause").click()
        await page.wait_for_function("() => window.tapped", timeout=COMES_MS)
        await _settled(page, "paused")
        await expect(page.locator(".reply", has_text="Resume")).to_have_count(0)
        await page.get_by_role("button", name="Resume").click()
        await _settled(page, "scanning")


async def test_a_decision_that_is_tapped_twice_is_one(page: Page, room: Room) -> None:
    await opened(page, room)
    await _register(page)
    await tile(page, "medial").click()
    await page.get_by_role("button", name="Start medial").click()
    await judged(page, "medial")
    agree = page.get_by_role("button", name="Agree", exact=True)
    await expect(agree).to_be_enabled()
    await agree.evaluate("(button) => { button.click(); button.click(); }")
    await _reply(page, "Decide: done")
    await page.get_by_role("button", name="Unsure", exact=True).click()
    await expect(page.locator(".reply", has_text="Decide: done")).to_have_count(2)
    assert [each.word for each in (await _said_by_readers(room, "medial")).decisions] == ["agree", "unsure"]


async def test_a_note_goes_with_a_decision_on_what_it_was_written_about_alone(page: Page, room: Room) -> None:
    await opened(page, room)
    await _register(page)
    for face in ("medial", "lateral"):
        await tile(page, face).click()
        await page.get_by_role("button", name=f"Start {face}").click()
        await judged(page, face)
        await _settled(page, "idle")
    note = page.get_by_label("Note to the decision")
    await note.fill("of lateral")
    await tile(page, "medial").click()
    await expect(note).to_have_value("")
    await page.get_by_role("button", name="Agree", exact=True).click()
    await _reply(page, "Decide: done")
    assert [each.note for each in (await _said_by_readers(room, "medial")).decisions] == [""]
    # It is not lost where somebody only looked elsewhere.
    await tile(page, "lateral").click()
    await expect(note).to_have_value("of lateral")
    assert await page.evaluate(_REGISTER, "next") == "done"
    await expect(page.locator(".specimen")).to_contain_text("next")
    await expect(note).to_have_value("")


async def test_a_command_that_comes_twice_is_carried_out_once(page: Page, room: Room) -> None:
    await opened(page, room)
    await _register(page)
    await tile(page, "medial").click()
    await page.get_by_role("button", name="Start medial").click()
    await judged(page, "medial")
    await page.evaluate(_DELIVER_TWICE)
    await page.get_by_role("button", name="Agree", exact=True).click()
    await _reply(page, "Decide: done")
    await page.get_by_role("button", name="Unsure", exact=True).click()
    await expect(page.locator(".reply", has_text="Decide: done")).to_have_count(2)
    assert [each.word for each in (await _said_by_readers(room, "medial")).decisions] == [
        "agree",
        "unsure",
    ]
    await expect(page.locator(".reply", has_text="Decide")).to_have_count(2)


async def test_a_viewer_has_no_controls_and_whoever_forces_one_gets_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    async with (
        room_of(tmp_path, scan=ON_COMMAND, display={"role": "viewer"}) as room,
        blank_page(browser) as page,
    ):
        await opened(page, room)
        for name in ("New specimen", "Start all remaining", "Agree", "Mark a region", "Acknowledge"):
            await expect(page.get_by_role("button", name=name)).to_be_hidden()
        await expect(page.locator("#controls")).to_have_text(
            "This page has no controls: local is a viewer, and only looks. Commands are given on the page of an "
            "operator or a reader; display.role in the configuration says whose page this is."
        )
        await expect(page.locator("#decisions")).to_contain_text("Decisions are given by readers.")
        await expect(page.locator(".who")).to_have_text("You are local · viewer")
        await picture(page, "viewer")
        await page.keyboard.press("F9")
        assert await page.evaluate(_FORCE) == "unanswered"
        assert "outcome=done" not in room.log


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Prepared]:
    """A mosquitto with the users of two sites, TLS and rights."""
    mosquitto_path()
    ready = prepared(tmp_path / "broker")
    with ready.running():
        yield ready


async def _log_in(page: Page, site: Prepared, user: User, password: str | None = None) -> None:
    await page.get_by_label("User").fill(user.username)
    right = (site.client_folder(user) / "password").read_text().strip()
    await page.get_by_label("Password").fill(right if password is None else password)
    await page.get_by_role("button", name="Log in").click()


async def test_users_of_a_broker_log_in_and_have_their_rights(
    browser: Browser, site: Prepared, tmp_path: Path
) -> None:
    broker = msgspec.to_builtins(site.settings(USERS["or-3"]))
    async with room_of(tmp_path, scan=ON_COMMAND, broker=broker) as room:
        async with blank_page(browser) as page:
            await page.goto(room.url)
            await expect(page.locator("#login-hint")).to_contain_text("north.reader.NAME")
            await page.get_by_label("User").fill(USERS["rita"].username)
            own = f"clients/north/reader-rita/{PASSWORD_FILE} of the broker's folder"
            await expect(page.locator("#login-hint")).to_contain_text(own)
            await picture(page, "login")
            await _log_in(page, site, USERS["rita"], "guessed")
            await expect(page.get_by_role("alert")).to_contain_text("user or password is wrong")
            await _log_in(page, site, USERS["rita"])
            await current(page)
            await expect(page.locator(".who")).to_have_text(f"You are {USERS['rita'].username} · reader")
            await _register(page)
            await _reply(page, "Register: done")
            await page.reload()
            await current(page)
            await expect(page.locator(".side")).to_have_text("LEFT")
            await page.get_by_role("button", name="Log out").click()
            await expect(page.get_by_label("Password")).to_be_visible()
        async with blank_page(browser) as page:
            await page.goto(room.url)
            await _log_in(page, site, USERS["wall"])
            await current(page)
            await expect(page.get_by_role("button", name="Start all remaining")).to_be_hidden()
            await expect(page.locator("#controls")).to_contain_text("log in as an operator or a reader")
            # The broker itself refuses: the page does not have to be honest.
            await page.evaluate("() => { window.octmargin.store.site.role = 'operator'; }")
            assert await page.evaluate(_FORCE) in ("unsent", "unanswered")
            assert _BEGAN.search(room.log) is None
        # As the log says it where somebody may.
        async with blank_page(browser) as page:
            await page.goto(room.url)
            await _log_in(page, site, USERS["rita"])
            await current(page)
            assert await page.evaluate(_FORCE) == "done"
            await judged(page, "superior")
            assert _BEGAN.search(room.log) is not None


async def test_a_photo_shows_where_the_faces_were_scanned_on_every_display(
    page: Page, room: Room, browser: Browser, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_noise((640, 480), 60).convert("RGB").save(photo)
    await opened(page, room)
    await _register(page)
    await tile(page, "medial").click()
    await page.get_by_role("button", name="Start medial").click()
    await judged(page, "medial")
    await page.get_by_role("tab", name="Photo").click()
    await expect(page.get_by_text("No photo of this specimen.")).to_be_visible()
    await page.get_by_label("Upload photo").set_input_files(photo)
    await expect(page.get_by_alt_text("Photo of the specimen")).to_be_visible(timeout=COMES_MS)
    await page.get_by_role("button", name="Place medial").click()
    area = page.locator(".area")
    await expect(area).to_be_focused()
    before = await area.bounding_box()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "+", "]"):
        await page.keyboard.press(key)
    after = await area.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] > before["x"]
    await picture(page, "photo")
    async with blank_page(browser) as other:
        await opened(other, room)
        await other.get_by_role("tab", name="Photo").click()
        await expect(other.locator(".area")).to_have_text("Medial")
        verdict = await verdict_of(room, "medial")
        await expect(other.locator(".area")).to_have_attribute("data-verdict", verdict.verdict)
        # By its sign too, as on the tile.
        sign = await tile(other, "medial").locator(".tile-sign").get_attribute("data-icon")
        assert sign == verdict.verdict
        await expect(other.locator(".area-sign")).to_have_attribute("data-icon", sign)
    await page.get_by_label("Upload photo").set_input_files(
        {"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    await expect(page.locator(".photo .none")).to_contain_text("The photo was not taken")


async def test_a_photo_that_was_being_chosen_is_not_given_to_the_next_specimen(
    page: Page, room: Room, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_noise((64, 48), 60).convert("RGB").save(photo)
    await opened(page, room)
    await _register(page)
    await page.get_by_role("tab", name="Photo").click()
    async with page.expect_file_chooser() as choosing:
        await page.get_by_text("Upload photo").click()
    specimen = await page.locator(".specimen").text_content()
    assert await page.evaluate(_REGISTER, "next") == "done"
    await expect(page.locator(".specimen")).not_to_have_text(specimen or "")
    await (await choosing.value).set_files(photo)
    await expect(page.locator(".photo .none")).to_have_text(
        "The photo was not taken: another specimen is on the stage by now"
    )
    # The server is asked of the specimen that is named, too.
    await page.get_by_label("Upload photo").set_input_files(photo)
    await expect(page.get_by_alt_text("Photo of the specimen")).to_be_visible(timeout=COMES_MS)


async def test_a_question_ends_when_another_specimen_is_on_the_stage(
    page: Page, room: Room, browser: Browser
) -> None:
    await opened(page, room)
    await _register(page)
    await page.get_by_role("button", name="Close specimen").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    async with blank_page(browser) as other:
        await opened(other, room)
        assert await other.evaluate(_REGISTER, "next") == "done"
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await _reply(page, "Close: not sent, another specimen or run is on the stage by now")
    await _phase(page, "idle")


async def test_what_may_name_a_patient_stays_in_the_dialog(page: Page, room: Room) -> None:
    await opened(page, room)
    await page.get_by_role("button", name="New specimen").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("radio", name="Left").check()
    await dialog.get_by_label("Label").fill("born 3.4.1961")
    await dialog.get_by_role("button", name="Register").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("the label reads as holding a date")
    await dialog.get_by_label("Label").fill("main")
    await dialog.get_by_role("button", name="Register").click()
    await _reply(page, "Register: done")


async def test_a_registration_that_is_refused_keeps_what_was_typed(page: Page, room: Room) -> None:
    await opened(page, room)
    assert await page.evaluate(_REGISTER_AS, "used-1") == "done"
    assert await page.evaluate(_REGISTER_AS, "next-1") == "done"
    await page.get_by_role("button", name="New specimen").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("radio", name="Right").check()
    await dialog.get_by_label("Orientation").fill("long lateral")
    await dialog.get_by_label("Specimen identifier").fill("used-1")
    await dialog.get_by_role("button", name="Register").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("used-1")
    await expect(dialog.get_by_label("Orientation")).to_have_value("long lateral")
    await expect(dialog.get_by_role("radio", name="Right")).to_be_checked()
    await picture(page, "register-refused")
    await dialog.get_by_label("Specimen identifier").fill("other-1")
    await dialog.get_by_role("button", name="Register").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".side")).to_have_text("RIGHT")
    await expect(page.locator(".orientation")).to_have_text("long lateral")


async def test_nothing_is_decided_or_marked_before_the_sweep_is_complete(page: Page, room: Room) -> None:
    await opened(page, room)
    await _register(page)
    await tile(page, "medial").click()
    assert await page.evaluate(_START_HELD, "medial") == ["done", "done"]
    await _phase(page, "paused")
    mark = page.get_by_role("button", name="Mark a region")
    for button in (mark, page.get_by_role("button", name="Agree", exact=True)):
        await expect(button).to_be_disabled()
        await expect(button).to_have_attribute(
            "title", re.compile("^Possible when the (sweep is complete|face was scanned)")
        )
    await page.get_by_role("button", name="Resume").click()
    await judged(page, "medial")
    await expect(mark).to_be_enabled()
    await expect(mark).not_to_have_attribute("title", re.compile("."))


async def test_what_became_of_a_command_is_asked_when_the_connection_was_lost(page: Page, room: Room) -> None:
    await opened(page, room)
    await _register(page)
    await _reply(page, "Register: done")
    await tile(page, "medial").click()
    await page.evaluate(_LOSE_REPLIES)
    await page.get_by_role("button", name="Select medial").click()
    await room.stop_broker()
    await _reply(page, "not known whether it was carried out; asking again")
    await room.start_broker()
    await _reply(page, "Select: done")
