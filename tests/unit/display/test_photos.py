"""The photo of the specimen: a picture and nothing else of the file, of the specimen that it was taken of."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import re
import stat
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.unit.display.conftest import Display, displayed

from octmargin.bus import BrokerSettings
from octmargin.display import BscanStore, OwnResults, photo_files, photos, protocols
from octmargin.display.bscan_pictures import _chunk
from octmargin.display.photos import MOST_PHOTO_BYTES, MOST_PHOTOS

NAME = "DOE^JANE 1950-01-01"


class Stage:
    """What is on it, as the daemon has it."""

    def __init__(self) -> None:
        self.specimen: tuple[str, str] | None = ("case-7", "s-1")


@pytest.fixture
def stage() -> Stage:
    return Stage()


@asynccontextmanager
async def of(stage: Stage, broker: BrokerSettings, **section: Any) -> AsyncIterator[Display]:
    results = OwnResults(BscanStore(1), lambda: stage.specimen)
    async with displayed(broker, results=results, **section) as running:
        yield running


@pytest.fixture
async def display(stage: Stage, broker: BrokerSettings) -> AsyncIterator[Display]:
    async with of(stage, broker) as running:
        yield running


def picture(size: tuple[int, int] = (60, 40), kind: str = "PNG", **options: Any) -> bytes:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return packed.getvalue()


def inside(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


async def test_a_photo_is_shown_as_it_was_taken(display: Display) -> None:
    async with display.http() as browser:
        assert (await browser.get("/api/photo")).status_code == 404
        put = await browser.put("/api/photo", content=picture())
        assert put.json() == {
            "case_id": "case-7",
            "specimen_id": "s-1",
            "version": 1,
            "width_px": 60,
            "height_px": 40,
            "by": "local",
            "placements": [],
            "not_kept": "no display.photo_folder is set",
        }
        got = await browser.get("/api/photo")
    assert got.headers["content-type"] == "image/jpeg"
    assert got.headers["cache-control"] == "no-store"
    pixels = np.asarray(opened(got.content).convert("RGB")).astype(int)
    assert pixels.shape == (40, 60, 3)
    assert (pixels[:, :20, 0] > 200).all()
    assert (pixels[:, 40:, 2] > 200).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_nothing_that_a_camera_wrote_beside_the_picture_stays(display: Display, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = NAME
    exif[0x0112] = 6  # it was held upright: to be turned by 90 degrees
    text = PngInfo()
    text.add_text("Comment", NAME)
    options: dict[str, Any] = {"comment": NAME.encode()} if kind == "JPEG" else {"pnginfo": text}
    taken = picture(kind=kind, exif=exif, icc_profile=NAME.encode() * 20, **options)
    assert NAME.encode() in taken
    async with display.http() as browser:
        put = await browser.put("/api/photo", content=taken)
        assert (put.json()["width_px"], put.json()["height_px"]) == (40, 60)
        shown = (await browser.get("/api/photo")).content
    assert NAME.encode() not in shown
    assert not opened(shown).getexif()
    assert not {"exif", "comment", "icc_profile"} & set(opened(shown).info)


async def test_a_large_photo_is_made_as_large_as_a_screen_can_use(display: Display) -> None:
    async with display.http() as browser:
        put = await browser.put("/api/photo", content=picture((4000, 3000), "JPEG"))
    assert (put.json()["width_px"], put.json()["height_px"]) == (2048, 1536)


def bomb() -> bytes:
    """A PNG of a few kB that would take gigabytes."""
    side = 40_000
    head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
        + _chunk(b"IEND", b"")
    )


def halved() -> bytes:
    whole = picture((400, 400), "JPEG", quality=95)
    return whole[: len(whole) // 2]


def gif() -> bytes:
    return picture(kind="GIF")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"no picture", 400),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 400),
        (gif(), 400),
        (halved(), 400),
        (bomb(), 400),
        (picture((8000, 8000)), 413),
        (bytes(MOST_PHOTO_BYTES + 1), 413),
    ],
    ids=["nothing", "text", "svg", "gif", "half", "bomb", "pixels", "bytes"],
)
async def test_what_is_no_photo_is_not_taken(display: Display, content: bytes, status: int) -> None:
    async with display.http() as browser:
        refused = await browser.put("/api/photo", content=content)
        assert refused.status_code == status
        assert refused.json()["error"]
        assert (await browser.get("/api/photo")).status_code == 404


async def test_each_specimen_has_its_own_photo(display: Display, stage: Stage) -> None:
    async with display.http() as browser:
        await browser.put("/api/photo", content=picture())
        stage.specimen = "case-7", "s-2"
        assert (await browser.get("/api/photo")).status_code == 404
        stage.specimen = "case-8", "s-1"
        assert (await browser.get("/api/photo")).status_code == 404, "of another case"
        stage.specimen = "case-7", "s-1"
        assert (await browser.get("/api/photo")).status_code == 200
        stage.specimen = None
        assert (await browser.put("/api/photo", content=picture())).status_code == 409


WHERE = {"face": "superior", "x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4, "angle_deg": 0.0}


@pytest.mark.parametrize(
    ("case_id", "specimen_id", "words"),
    [
        ("case-7", "s-0", "specimen 's-0' is not on the stage any more; 's-1' is"),
        ("case-6", "s-1", "case 'case-6' is not on the stage any more; 'case-7' is"),
        ("", "s-1", "case '' is not"),
        ("case-7", "", "specimen '' is not"),
    ],
)
async def test_whoever_means_another_specimen_is_told(
    display: Display, case_id: str, specimen_id: str, words: str
) -> None:
    """Also where the specimen of another case has the same name."""
    meant = {"case_id": "case-7", "specimen_id": "s-1"}
    other = {"case_id": case_id, "specimen_id": specimen_id}
    async with display.http() as browser:
        photo = await browser.put("/api/photo", params=other, content=picture())
        assert photo.status_code == 409
        assert words in photo.json()["error"]
        assert (await browser.get("/api/photo", params=meant)).status_code == 404, "nothing was taken"
        assert (await browser.put("/api/photo", params=meant, content=picture())).status_code == 200
        place = await browser.put("/api/photo/placement", params=other, json=WHERE)
        assert (place.status_code, photo.status_code) == (409, 409)
        for path in ("/api/photo", "/api/photo/placement"):
            assert (await browser.get(path, params=other)).status_code == 409
        assert (await browser.get("/api/photo/placement", params=meant)).json()["placements"] == []
        assert (await browser.put("/api/photo/placement", params=meant, json=WHERE)).status_code == 200


async def test_a_photo_that_came_too_late_is_not_taken_for_the_next_specimen_s(
    display: Display, stage: Stage
) -> None:
    content, is_under_way, is_changed = picture(), asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield content[:10]
        is_under_way.set()
        await is_changed.wait()
        yield content[10:]

    async with display.http() as browser:
        putting = asyncio.create_task(browser.put("/api/photo", content=slowly()))
        await is_under_way.wait()
        # Something that the server answers after it has seen the beginning.
        await browser.get("/api/site")
        stage.specimen = "case-7", "s-2"
        is_changed.set()
        assert (await putting).status_code == 409
        assert (await browser.get("/api/photo")).status_code == 404


async def test_photos_that_come_at_once_do_not_fill_memory(display: Display) -> None:
    """Four come in; a fifth is told to wait before anything of it is kept."""
    content, go_on = picture(), asyncio.Event()
    under_way = [asyncio.Event() for _ in range(4)]

    async def slowly(begun: asyncio.Event) -> AsyncIterator[bytes]:
        yield content[:10]
        begun.set()
        await go_on.wait()
        yield content[10:]

    async with display.http() as browser:
        putting = [
            asyncio.create_task(browser.put("/api/photo", content=slowly(begun))) for begun in under_way
        ]
        for begun in under_way:
            await begun.wait()
        await browser.get("/api/site")
        assert (await browser.put("/api/photo", content=content)).status_code == 503
        go_on.set()
        assert [(await put).status_code for put in putting] == [200] * 4
        assert (await browser.put("/api/photo", content=content)).status_code == 200


async def test_faces_are_placed_on_the_photo(display: Display) -> None:
    where = {"face": "superior", "x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4, "angle_deg": 12.5}
    async with display.http() as browser:
        assert (await browser.put("/api/photo/placement", json=where)).status_code == 409, "on what?"
        before = (await browser.put("/api/photo", content=picture())).json()
        for face in ("superior", "medial", "superior"):
            put = await browser.put("/api/photo/placement", json={**where, "face": face})
            assert put.status_code == 200
        told = (await browser.get("/api/photo/placement")).json()
        assert told["placements"] == [where, {**where, "face": "medial"}]
        assert told["version"] > before["version"], (
            "so that another display knows that there is something new"
        )
        again = (await browser.put("/api/photo", content=picture())).json()
        assert again["placements"] == [], "they were on another photo"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"face": "", "x": 0, "y": 0, "width": 1, "height": 1}',
        b'{"face": "a", "x": 0, "y": 0, "width": 0, "height": 1}',
        b'{"face": "a", "x": 1e300, "y": 0, "width": 1, "height": 1}',
        b'{"face": "a", "x": NaN, "y": 0, "width": 1, "height": 1}',
        b'{"face": "a", "x": 0, "y": 0, "width": 1, "height": 1, "more": 1}',
        b'{"face": "a", "x": 0, "y": 0, "width": 1, "height": 1, "angle_deg": "1"}',
        b"[" * 1000,
        b"\xff",
    ],
)
async def test_what_is_no_placement_is_not_taken(display: Display, body: bytes) -> None:
    async with display.http() as browser:
        await browser.put("/api/photo", content=picture())
        assert (await browser.put("/api/photo/placement", content=body)).status_code == 400
        assert (await browser.get("/api/photo/placement")).json()["placements"] == []


async def test_who_only_looks_changes_nothing(stage: Stage, broker: BrokerSettings) -> None:
    async with of(stage, broker, role="viewer") as display, display.http() as browser:
        assert (await browser.put("/api/photo", content=picture())).status_code == 403
        assert (await browser.put("/api/photo/placement", json={})).status_code == 403
        assert (await browser.get("/api/photo/placement")).status_code == 200


async def test_photos_are_bounded(display: Display, stage: Stage) -> None:
    async with display.http() as browser:
        for number in range(MOST_PHOTOS + 1):
            stage.specimen = "case-7", f"s-{number}"
            assert (await browser.put("/api/photo", content=picture())).status_code == 200
        stage.specimen = "case-7", "s-0"
        assert (await browser.get("/api/photo")).status_code == 404
        stage.specimen = "case-7", "s-1"
        assert (await browser.get("/api/photo")).status_code == 200


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-",
        b"PUT /api/photo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx",
        b"GET /api/site HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx",
    ],
    ids=["nothing", "head", "body", "body that nobody wants"],
)
async def test_what_does_not_come_to_its_end_is_not_waited_for(
    stage: Stage, broker: BrokerSettings, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_S", 0.3)
    async with of(stage, broker) as display, display.http() as browser:
        answer, half = await asyncio.open_connection(display.host, display.port)
        half.write(begun)
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionResetError):
                while await answer.read(1000):
                    # More of it now and then makes it no faster.
                    half.write(b"x")
        half.close()
        assert (await browser.get("/")).status_code == 200, "others are served meanwhile"


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=60,
    deadline=None,
)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), kind=st.sampled_from(["PNG", "JPEG"]))
async def test_a_picture_with_a_wrong_byte_is_taken_or_refused(
    display: Display, at: int, byte: int, kind: str
) -> None:
    content = bytearray(picture(kind=kind))
    content[at % len(content)] = byte
    async with display.http() as browser:
        assert (await browser.put("/api/photo", content=bytes(content))).status_code in (200, 400, 413)


# -- beyond the end of the server -----------------------------------------------------------------------


async def test_a_photo_is_there_again_when_the_server_is(
    stage: Stage, broker: BrokerSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    async with of(stage, broker, photo_folder=str(folder)) as display, display.http() as browser:
        assert (await browser.put("/api/photo", content=picture())).json()["not_kept"] == ""
        put = (await browser.put("/api/photo/placement", json=WHERE)).json()
        shown = (await browser.get("/api/photo")).content
    async with of(stage, broker, photo_folder=str(folder)) as display, display.http() as browser:
        assert (await browser.get("/api/photo/placement")).json() == put
        assert (await browser.get("/api/photo")).content == shown
        again = (await browser.put("/api/photo", content=picture())).json()
        assert again["version"] > put["version"], "a page that stayed open must see that it is another one"
        stage.specimen = "case-8", "s-1"
        assert (await browser.get("/api/photo")).status_code == 404, "of another case"


async def test_files_of_photos_name_nobody_and_are_their_owner_s_alone(
    stage: Stage, broker: BrokerSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    stage.specimen = "case-7", "../s 1"
    async with of(stage, broker, photo_folder=str(folder)) as display, display.http() as browser:
        await browser.put("/api/photo", content=picture())
        await browser.put("/api/photo/placement", json=WHERE)
    (file,) = inside(folder)
    assert re.fullmatch("[0-9a-f]{32}.photo", file.name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_photos_on_disk_are_bounded(
    stage: Stage, broker: BrokerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_files, "MOST_KEPT", 2)
    folder = tmp_path / "photos"
    for number in range(3):
        stage.specimen = "case-7", f"s-{number}"
        async with of(stage, broker, photo_folder=str(folder)) as display, display.http() as browser:
            await browser.put("/api/photo", content=picture())
    assert len(inside(folder)) == 2
    async with of(stage, broker, photo_folder=str(folder)) as display, display.http() as browser:
        for number, status in ((0, 404), (1, 200), (2, 200)):
            stage.specimen = "case-7", f"s-{number}"
            assert (await browser.get("/api/photo")).status_code == status


async def test_a_full_disk_is_told_and_the_photo_is_shown_all_the_same(
    stage: Stage, broker: BrokerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "photos"
    async with of(stage, broker, photo_folder=str(folder)) as display, display.http() as browser:
        with monkeypatch.context() as patch:
            patch.setattr("octmargin.display.photo_files.os.fsync", full)
            put = (await browser.put("/api/photo", content=picture())).json()
        assert put["not_kept"] == "display.photo_folder cannot be written (No space left on device)"
        assert (await browser.get("/api/photo")).status_code == 200
        assert (await browser.get("/api/photo/placement")).json()["not_kept"] == put["not_kept"]
        assert inside(folder) == [], "no half of it stays"
        # There is room again.
        assert (await browser.put("/api/photo/placement", json=WHERE)).json()["not_kept"] == ""
    assert len(inside(folder)) == 1


async def test_a_disk_that_stands_still_holds_up_no_photo_for_long(
    stage: Stage, broker: BrokerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = threading.Event()
    monkeypatch.setattr(photo_files, "_PATIENCE_S", 0.2)
    monkeypatch.setattr("octmargin.display.photo_files.os.fsync", lambda _: back.wait(20))
    async with of(stage, broker, photo_folder=str(tmp_path)) as display, display.http() as browser:
        put = (await browser.put("/api/photo", content=picture())).json()
        assert put["not_kept"] == "the disk of display.photo_folder stands still"
        assert (await browser.get("/api/photo")).status_code == 200
        stage.specimen = "case-7", "s-2"
        refused = await browser.get("/api/photo")
        assert (refused.status_code, refused.json()["error"]) == (
            503,
            "the disk of display.photo_folder stands still: no photo can be read; mend it",
        )
    back.set()


@pytest.mark.parametrize("spoil", [lambda whole: whole[:-9], lambda whole: whole[:-1] + b"\0", lambda _: b""])
async def test_what_is_not_whole_is_not_shown(
    stage: Stage, broker: BrokerSettings, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    async with of(stage, broker, photo_folder=str(tmp_path)) as display, display.http() as browser:
        await browser.put("/api/photo", content=picture())
    (file,) = inside(tmp_path)
    file.write_bytes(spoil(file.read_bytes()))
    (tmp_path / "half.photo-unfinished").write_bytes(b"of a run that was killed")
    (tmp_path / "notes.txt").write_text("somebody else's")
    async with of(stage, broker, photo_folder=str(tmp_path)) as display, display.http() as browser:
        assert (await browser.get("/api/photo")).status_code == 404
        assert (await browser.put("/api/photo", content=picture())).json()["not_kept"] == ""
    assert {path.name for path in inside(tmp_path)} == {file.name, "notes.txt"}


def test_the_limits_are_those_that_are_documented() -> None:
    assert photos.MOST_PHOTO_BYTES == 10_000_000
    assert (MOST_PHOTOS, photo_files.MOST_KEPT) == (16, 200)
