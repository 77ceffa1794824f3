"""The page and its files: what a browser gets, and what nobody gets."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.display.conftest import Display

from octmargin.display.assets import Assets


async def test_the_page_comes_with_a_policy_that_lets_it_speak_to_its_own_server_alone(
    display: Display,
) -> None:
    async with display.http() as browser:
        page = await browser.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "server" not in page.headers


async def test_a_file_that_the_browser_has_is_not_sent_again(display: Display) -> None:
    async with display.http() as browser:
        first = await browser.get("/static/index.html")
        again = await browser.get("/static/index.html", headers={"if-none-match": first.headers["etag"]})
        other = await browser.get("/static/index.html", headers={"if-none-match": '"of-another-version"'})
    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]


async def test_every_file_of_the_page_is_served_as_it_is(display: Display) -> None:
    folder = Path(str(files("octmargin.display"))) / "static"
    shipped = [path for path in folder.rglob("*") if path.is_file()]
    async with display.http() as browser:
        for path in shipped:
            got = await browser.get(f"/static/{path.relative_to(folder).as_posix()}")
            assert got.content == path.read_bytes()
    assert shipped


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/index.html%00",
        "/static/",
        "/static/..%5capp.py",
    ],
)
async def test_no_path_leads_out_of_the_folder(display: Display, path: str) -> None:
    async with display.http() as browser:
        request = browser.build_request("GET", display.url)
        # Not through httpx's own tidying of paths.
        request.url = request.url.copy_with(raw_path=path.encode())
        got = await browser.send(request)
    assert got.status_code == 404
    assert set(got.json()) == {"error"}


@given(st.text())
def test_there_is_a_file_or_there_is_none(path: str) -> None:
    assets = Assets.shipped()
    found = assets.get(path)
    folder = Path(str(files("octmargin.display"))) / "static"
    names = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}
    assert (found is not None) == (path in names)


async def test_the_page_is_told_where_it_is(display: Display) -> None:
    async with display.http() as browser:
        answer = await browser.get("/api/site")
    assert answer.headers["cache-control"] == "no-store"
    site = json.loads(answer.content)
    assert site["site"], site["console"] == ("north", "or-3")
    assert site["base"] == "octmargin/1/north/or-3"
    assert (site["login"], site["user"], site["role"]) == ("none", "local", "reader")
    assert "Not a medical device" in site["notice"]


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
async def test_nothing_is_written_where_there_is_nothing_to_write(display: Display, method: str) -> None:
    async with display.http() as browser:
        for path in ("/", "/static/index.html", "/api/site"):
            assert (await browser.request(method, path)).status_code == 405


async def test_a_name_that_somebody_points_at_this_machine_opens_nothing(display: Display) -> None:
    """DNS rebinding: the browser takes a foreign page for ours, and tells its name all the same."""
    async with display.http() as browser:
        for host in ("evil.example", f"evil.example:{display.port}", "", "127.0.0.1.evil.example", "[::1"):
            assert (await browser.get("/api/site", headers={"host": host})).status_code == 421
        for host in ("localhost", f"127.0.0.1:{display.port}", "[::1]:8350"):
            assert (await browser.get("/api/site", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "", "file://"])
async def test_a_page_of_another_place_changes_nothing_and_hears_nothing(
    display: Display, origin: str
) -> None:
    async with display.http() as browser:
        refused = await browser.post("/api/site", headers={"origin": origin})
    assert refused.status_code == 403
    with pytest.raises(websockets.InvalidStatus) as failed:
        async with websockets.connect(display.mqtt_url, subprotocols=["mqtt"], origin=origin):
            pass
    assert failed.value.response.status_code == 403


async def test_the_page_itself_may(display: Display) -> None:
    origin = display.url.rstrip("/")
    async with display.http() as browser:
        assert (await browser.post("/api/site", headers={"origin": origin})).status_code == 405
    async with websockets.connect(display.mqtt_url, subprotocols=["mqtt"], origin=origin) as way:
        assert way.subprotocol == "mqtt"


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=30,
    deadline=None,
)
@given(path=st.text(max_size=200), method=st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]))
async def test_whatever_is_asked_the_answer_is_no_failure_of_the_server(
    display: Display, path: str, method: str
) -> None:
    async with display.http() as browser:
        answer = await browser.request(method, "/" + quote(path, safe="/%"))
    assert answer.status_code < 500
