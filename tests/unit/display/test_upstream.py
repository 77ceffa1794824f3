"""A display on another machine: what only the daemon has is fetched from there, in the name of whoever asks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiomqtt
import httpx
import pytest
from tests.unit.bus import examples
from tests.unit.bus.conftest import mosquitto_path
from tests.unit.display.conftest import TOPICS, Display, displayed
from tests.unit.display.test_bscan_routes import kept
from tests.unit.display.test_bscan_store import about
from tests.unit.display.test_photos import picture
from tests.unit.site.conftest import USERS, Prepared, prepared

from octmargin.bus import BrokerSettings
from octmargin.bus.codec import encode
from octmargin.bus.messages import UNSTAMPED, Description
from octmargin.display import BscanStore, OwnResults
from octmargin.site.users import User

READER, VIEWER = USERS["rita"], USERS["wall"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    mosquitto_path()
    ready = prepared(tmp_path_factory.mktemp("site") / "broker")
    with ready.running():
        yield ready


def password(site: Prepared, user: User) -> str:
    return (site.client_folder(user) / "password").read_text().strip()


def trust(site: Prepared) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(site.folder / "broker" / "ca.pem"))


def scanned() -> OwnResults:
    store = BscanStore(1_000_000)
    store.keep(store.begin(1, about()), 0, kept(0))
    return OwnResults(store, lambda: ("case-7", "s-1"))


def described(url: str) -> bytes:
    now = examples.NOON
    description = examples.description(
        display_url=url, session="session-1", instance_id="session-1", published_at=now, valid_until=now
    )
    assert isinstance(description, Description)
    assert description.published_at != UNSTAMPED
    return encode(description)


async def say_where(broker: BrokerSettings, url: str, user: User | None, site: Prepared | None) -> None:
    login = {}
    if user is not None and site is not None:
        secret = password(site, user)
        login = {"username": user.username, "password": secret, "tls_context": trust(site)}
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        protocol=aiomqtt.ProtocolVersion.V5,
        **login,  # type: ignore[arg-type]
    )
    async with client:
        await client.publish(TOPICS.description, described(url), qos=1, retain=True)


@asynccontextmanager
async def two_displays(
    site: Prepared, url: str | None = None, *, has_authority: bool = True
) -> AsyncIterator[tuple[Display, Display]]:
    """The daemon's own, and one elsewhere that heard where it is."""
    files = {
        "certificate": str(site.folder / "broker" / "broker.pem"),
        "key": str(site.folder / "broker" / "broker.key"),
    }
    console = site.settings(USERS["or-3"])
    async with displayed(console, results=scanned(), **files) as own:
        await say_where(console, own.url if url is None else url, USERS["or-3"], site)
        ca_file = str(site.folder / "broker" / "ca.pem") if has_authority else ""
        elsewhere = displayed(site.settings(VIEWER), results=None, ca_file=ca_file, **files)
        async with elsewhere as other:
            yield own, other


@asynccontextmanager
async def logged_in(display: Display, site: Prepared, user: User) -> AsyncIterator[httpx.AsyncClient]:
    async with display.http(verify=trust(site)) as browser:
        body = {"user": user.username, "password": password(site, user)}
        assert (await browser.post("/api/login", json=body)).status_code == 200
        yield browser


async def until_heard(browser: httpx.AsyncClient) -> httpx.Response:
    """The first listing that is none of "not heard yet"."""
    async with asyncio.timeout(60):
        while True:
            answer = await browser.get("/api/bscans")
            if "nothing was heard" not in answer.text:
                return answer


async def test_b_scans_come_from_the_daemon(site: Prepared) -> None:
    async with (
        two_displays(site) as (own, other),
        logged_in(own, site, READER) as near,
        logged_in(other, site, READER) as far,
    ):
        assert (await until_heard(far)).json() == (await near.get("/api/bscans")).json()
        for path in ("/api/bscans/1/0", "/api/bscans/1/0/lines", "/api/bscans/1/0?session=session-1"):
            from_there, from_here = await near.get(path), await far.get(path)
            assert from_here.status_code == from_there.status_code == 200
            assert from_here.content == from_there.content
            kept_headers = {
                name: value for name, value in from_there.headers.items() if name.startswith("x-octmargin")
            }
            assert kept_headers.items() <= from_here.headers.items()
            assert from_here.headers["cache-control"] == "no-store"
        for path in ("/api/bscans/1/7", "/api/bscans/..%2f..%2fapi/site", "/api/bscans/1/0?session=other"):
            assert (await far.get(path)).status_code == 404


async def test_a_photo_is_changed_by_whom_the_daemon_lets(site: Prepared) -> None:
    async with two_displays(site) as (_, other), logged_in(other, site, VIEWER) as viewer:
        await until_heard(viewer)
        assert (await viewer.put("/api/photo", content=picture())).status_code == 403
        async with logged_in(other, site, READER) as reader:
            put = await reader.put("/api/photo", content=picture())
            assert (put.status_code, put.json()["by"]) == (200, READER.username)
            where = {"face": "superior", "x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4, "angle_deg": 0.0}
            assert (await reader.put("/api/photo/placement", json=where)).status_code == 200
        assert (await viewer.get("/api/photo")).headers["content-type"] == "image/jpeg"
        assert (await viewer.get("/api/photo/placement")).json()["placements"] == [where]


async def test_without_a_login_nothing_is_fetched(site: Prepared) -> None:
    async with two_displays(site) as (_, other), other.http(verify=trust(site)) as nobody:
        for path in ("/api/bscans", "/api/bscans/1/0", "/api/photo"):
            assert (await nobody.get(path)).status_code == 401


@pytest.mark.parametrize(
    "url", ["http://display.example:8350/", "ftp://127.0.0.1/", "https://[::1", "file:///etc/passwd"]
)
async def test_passwords_are_sent_nowhere_that_is_not_safe(site: Prepared, url: str) -> None:
    async with two_displays(site, url) as (_, other), logged_in(other, site, READER) as far:
        answer = await until_heard(far)
        assert answer.status_code == 502
        assert "not served over TLS" in answer.json()["error"]


async def test_passwords_are_sent_nowhere_that_a_public_authority_alone_vouches_for(site: Prepared) -> None:
    url = "https://display.example:8350/"
    async with (
        two_displays(site, url, has_authority=False) as (_, other),
        logged_in(other, site, READER) as far,
    ):
        answer = await until_heard(far)
    assert answer.status_code == 502
    assert "display.ca_file" in answer.json()["error"]


async def test_a_daemon_that_cannot_be_reached_is_told(site: Prepared) -> None:
    async with (
        two_displays(site, "https://127.0.0.1:1/") as (_, other),
        logged_in(other, site, READER) as far,
    ):
        answer = await until_heard(far)
        assert answer.status_code == 502
        assert "cannot be reached" in answer.json()["error"]
        assert password(site, READER) not in answer.text


async def test_a_certificate_of_another_authority_is_not_trusted(
    site: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other_folder = prepared(tmp_path_factory.mktemp("other") / "broker").folder / "broker"
    console = site.settings(USERS["or-3"])
    impostor = displayed(
        console,
        results=scanned(),
        certificate=str(other_folder / "broker.pem"),
        key=str(other_folder / "broker.key"),
    )
    async with (
        impostor as wrong,
        two_displays(site, wrong.url) as (_, other),
        logged_in(other, site, READER) as far,
    ):
        answer = await until_heard(far)
    assert answer.status_code == 502
    assert "CERTIFICATE_VERIFY_FAILED" in answer.json()["error"]


async def test_on_one_machine_without_users_it_works_as_well(broker: BrokerSettings) -> None:
    async with displayed(broker, results=scanned()) as own:
        await say_where(broker, own.url, None, None)
        async with displayed(broker, results=None) as other, other.http() as browser:
            assert (await until_heard(browser)).json()["sweeps"][0]["frames"] == [[0, 0]]


async def test_a_daemon_without_a_display_is_told(broker: BrokerSettings) -> None:
    await say_where(broker, "", None, None)
    async with displayed(broker, results=None) as other, other.http() as browser:
        answer = await browser.get("/api/bscans")
    assert answer.status_code == 502
    assert "[display]" in answer.json()["error"]
