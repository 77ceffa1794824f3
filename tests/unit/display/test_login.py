"""Who gets in: the broker's users, each as what he is, over TLS; nobody else, and nobody without end."""

from __future__ import annotations

import asyncio
import math
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any

import aiomqtt
import httpx
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.bus.conftest import mosquitto_path
from tests.unit.display.conftest import Display, displayed
from tests.unit.site.conftest import USERS, Prepared, prepared

from octmargin.bus.rights import Role
from octmargin.display import sessions
from octmargin.display.proof import Proof, Prover
from octmargin.display.sessions import Refused, Sessions
from octmargin.site.users import User

READER, VIEWER, OPERATOR = USERS["rita"], USERS["wall"], USERS["anna"]
ELSEWHERE = USERS["s-rita"]
CLOSED = (
    "/api/bscans",
    "/api/bscans/1/0",
    "/api/photo",
    "/api/photo/placement",
    "/api/nothing",
    "/api",
    "/x",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    mosquitto_path()
    ready = prepared(tmp_path_factory.mktemp("site") / "broker")
    with ready.running():
        yield ready


def password(site: Prepared, user: User) -> str:
    return (site.client_folder(user) / "password").read_text().strip()


@asynccontextmanager
async def over_tls(site: Prepared, **options: Any) -> AsyncIterator[Display]:
    """The display of console or-3 beside a broker with users, over TLS as beyond this machine."""
    certificate, key = (str(site.folder / "broker" / name) for name in ("broker.pem", "broker.key"))
    console = site.settings(USERS["or-3"], timeout_s=30.0)
    async with displayed(console, certificate=certificate, key=key, **options) as display:
        yield display


@pytest.fixture
async def display(site: Prepared) -> AsyncIterator[Display]:
    async with over_tls(site) as running:
        yield running


def trust(site: Prepared) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(site.folder / "broker" / "ca.pem"))


def browser_at(display: Display, site: Prepared, **options: Any) -> httpx.AsyncClient:
    return display.http(verify=trust(site), **options)


async def log_in(browser: httpx.AsyncClient, user: User, secret: str) -> httpx.Response:
    return await browser.post("/api/login", json={"user": user.username, "password": secret})


async def test_without_a_login_there_is_the_page_and_nothing_on_it(display: Display, site: Prepared) -> None:
    async with browser_at(display, site) as browser:
        assert (await browser.get("/")).status_code == 200
        about = (await browser.get("/api/site")).json()
        assert (about["login"], about["user"], about["role"]) == ("required", "", "")
        for path in CLOSED:
            refused = await browser.get(path)
            assert refused.status_code == 401
            # A browser would keep a password that it asks for itself, for every page.
            assert "basic" not in refused.headers["www-authenticate"].lower()
    with pytest.raises(websockets.InvalidStatus) as failed:
        async with websockets.connect(display.mqtt_url, subprotocols=["mqtt"], ssl=trust(site)):
            pass
    assert failed.value.response.status_code == 401


@pytest.mark.parametrize("user", [READER, VIEWER, OPERATOR])
async def test_a_user_of_the_broker_gets_in_as_what_he_is(
    display: Display, site: Prepared, user: User
) -> None:
    async with browser_at(display, site) as browser:
        answer = await log_in(browser, user, password(site, user))
        assert answer.status_code == 200
        about = (await browser.get("/api/site")).json()
        assert (about["user"], about["role"]) == (user.username, user.role.value)
        assert (await browser.get("/api/bscans")).status_code == 200
    cookie = SimpleCookie(answer.headers["set-cookie"])["__Host-octmargin"]
    assert cookie["httponly"]
    assert cookie["secure"]
    assert cookie["samesite"] == "strict"
    assert cookie["path"] == "/"
    assert not cookie["domain"]
    assert password(site, user) not in answer.text


async def test_who_is_logged_in_speaks_mqtt_as_himself(display: Display, site: Prepared) -> None:
    async with browser_at(display, site) as browser:
        await log_in(browser, READER, password(site, READER))
        cookie = f"__Host-octmargin={browser.cookies['__Host-octmargin']}"
    page = display.mqtt(
        username=READER.username,
        password=password(site, READER),
        websocket_headers={"Cookie": cookie},
        tls_context=trust(site),
    )
    topic = "octmargin/1/north/or-3"
    async with page, as_console(site) as console:
        await page.subscribe(f"{topic}/#")
        await console.subscribe(f"{topic}/cmd/#")
        await console.publish(f"{topic}/health", b"{}", qos=1)
        assert (await anext(aiter(page.messages))).topic.value == f"{topic}/health"
        await page.publish(f"{topic}/cmd/operator/anna/stop", b"as somebody else", qos=1)
        await page.publish(f"{topic}/cmd/reader/rita/stop", b"as himself", qos=1)
        assert (await anext(aiter(console.messages))).payload == b"as himself"


def as_console(site: Prepared) -> aiomqtt.Client:
    user = USERS["or-3"]
    return aiomqtt.Client(
        "127.0.0.1",
        site.port,
        username=user.username,
        password=password(site, user),
        tls_context=trust(site),
        protocol=aiomqtt.ProtocolVersion.V5,
    )


async def test_the_pipe_does_not_lend_the_daemon_s_own_name(display: Display, site: Prepared) -> None:
    """Logged in here as a viewer, somebody who gives the broker no name gets nowhere."""
    async with browser_at(display, site) as browser:
        await log_in(browser, VIEWER, password(site, VIEWER))
        headers = {"Cookie": f"__Host-octmargin={browser.cookies['__Host-octmargin']}"}
    nameless = display.mqtt(websocket_headers=headers, tls_context=trust(site))
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with nameless:
            pass


async def test_a_console_does_not_log_in_at_a_display(display: Display, site: Prepared) -> None:
    """Its user may write everything; its password belongs to the daemon, and is right here."""
    console = USERS["or-3"]
    secret = password(site, console)
    async with browser_at(display, site) as browser:
        refused = await log_in(browser, console, secret)
        assert refused.status_code == 401
        assert refused.json()["error"] == "a console does not log in at a display"
        basic = await browser.get("/api/bscans", auth=(console.username, secret))
        assert basic.status_code == 401
        assert not browser.cookies


async def test_an_archive_only_looks(display: Display, site: Prepared) -> None:
    archive = next(user for user in USERS.values() if (user.site, user.role) == ("north", Role.ARCHIVE))
    async with browser_at(display, site) as browser:
        assert (await log_in(browser, archive, password(site, archive))).status_code == 200
        assert (await browser.get("/api/bscans")).status_code == 200
        assert (await browser.put("/api/photo", content=b"x")).status_code == 403


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (READER.username, "wrong"),
        (READER.username, ""),
        ("north.reader.nobody", "x"),
        ("north.viewer.rita", None),
        (ELSEWHERE.username, None),
        ("rita", None),
        ("", ""),
        ("north.reader.rita\0", None),
    ],
)
async def test_nobody_else_gets_in(display: Display, site: Prepared, name: str, secret: str | None) -> None:
    """Also not a user of another site that shares the broker, who has a password that is right."""
    right = password(site, ELSEWHERE if name == ELSEWHERE.username else READER)
    async with browser_at(display, site) as browser:
        body = {"user": name, "password": right if secret is None else secret}
        answer = await browser.post("/api/login", json=body)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert (await browser.get("/api/bscans")).status_code == 401


async def test_logging_out_ends_the_session_wherever_its_token_is(display: Display, site: Prepared) -> None:
    async with browser_at(display, site) as browser, browser_at(display, site) as thief:
        await log_in(browser, READER, password(site, READER))
        thief.cookies = httpx.Cookies(browser.cookies)
        assert (await thief.get("/api/bscans")).status_code == 200
        assert (await browser.post("/api/logout")).status_code == 200
        assert (await thief.get("/api/bscans")).status_code == 401
        assert not browser.cookies


async def test_a_token_that_nobody_gave_out_opens_nothing(display: Display, site: Prepared) -> None:
    async with browser_at(display, site) as browser:
        for token in ("x", "", "a" * 5000, "%00", '"'):
            cookie = {"cookie": f"__Host-octmargin={token}"}
            assert (await browser.get("/api/bscans", headers=cookie)).status_code == 401


async def test_cookies_of_other_programs_on_this_machine_do_not_matter(
    display: Display, site: Prepared
) -> None:
    async with browser_at(display, site) as browser:
        await log_in(browser, READER, password(site, READER))
        ours = f"__Host-octmargin={browser.cookies['__Host-octmargin']}"
        for others in ("a[b]=c; {}", "{}; =", 'x="; {}', '\x7f; {}; y="1\\'):
            answer = await browser.get("/api/bscans", headers={"cookie": others.format(ours)})
            assert answer.status_code == 200


async def test_what_somebody_types_does_not_move_the_cursor_of_the_log(
    display: Display, site: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    async with browser_at(display, site) as browser:
        await browser.post("/api/login", json={"user": "\x1b[2J\nINFO all is well", "password": "x"})
    said = capsys.readouterr()
    assert "login refused" in said.out + said.err
    assert "\x1b[2J" not in said.out + said.err
    assert "\nINFO" not in said.out + said.err


async def test_another_server_gets_in_with_user_and_password_in_each_request(
    display: Display, site: Prepared
) -> None:
    right, wrong = (READER.username, password(site, READER)), (READER.username, "wrong")
    async with browser_at(display, site) as browser:
        assert (await browser.get("/api/bscans", auth=right)).status_code == 200
        assert (await browser.get("/api/bscans", auth=wrong)).status_code == 401
        assert (await browser.get("/api/bscans", auth=right)).status_code == 200
        assert (await browser.get("/api/bscans")).status_code == 401


async def test_whoever_tries_passwords_is_made_to_wait_and_nobody_else_is(
    display: Display, site: Prepared
) -> None:
    secret = password(site, READER)
    near = httpx.AsyncHTTPTransport(local_address="127.0.0.1", verify=trust(site))
    far = httpx.AsyncHTTPTransport(local_address="127.0.0.2", verify=trust(site))
    async with display.http(transport=near) as guesser, display.http(transport=far) as other:
        statuses = [(await log_in(guesser, READER, f"guess {n}")).status_code for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        waits = await log_in(guesser, READER, secret)
        assert waits.status_code == 429
        assert 0 < int(waits.headers["retry-after"]) <= 61
        assert (await guesser.get("/api/bscans", auth=(READER.username, secret))).status_code == 429
        assert (await log_in(other, READER, secret)).status_code == 200


class SlowBroker(Prover):
    """The real one's answers, held back until they are let go; counts who asked."""

    def __init__(self, site: Prepared) -> None:
        super().__init__(site.settings(READER, timeout_s=10.0), "")
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def prove(self, user: str, password: str) -> Proof:
        self.asked += 1
        await self.may_answer.wait()
        return await super().prove(user, password)


async def test_attempts_at_once_get_no_more_guesses_than_one_after_another(site: Prepared) -> None:
    broker = SlowBroker(site)
    users = Sessions(broker, "north", clock=Clock())
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        guesses = [tasks.create_task(users.log_in(READER.username, f"guess {n}", "here")) for n in range(24)]
        # Whoever is refused is so without the broker, which says nothing yet.
        in_turn = asyncio.as_completed(guesses)
        refused = [await next(in_turn) for _ in range(len(guesses) - sessions.MOST_FAILURES)]
        assert sum(not task.done() for task in guesses) == sessions.MOST_FAILURES
        assert all(isinstance(answer, Refused) and answer.status == 429 for answer in refused)
        broker.may_answer.set()
    assert broker.asked == sessions.MOST_FAILURES
    late = await users.log_in(READER.username, password(site, READER), "here")
    assert isinstance(late, Refused)
    assert late.status == 429
    assert isinstance(await users.log_in(READER.username, password(site, READER), "there"), str)


async def test_a_guess_that_is_given_up_while_it_is_asked_counts_too(site: Prepared) -> None:
    broker = SlowBroker(site)
    users = Sessions(broker, "north", clock=Clock())
    for number in range(sessions.MOST_FAILURES):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await users.log_in(READER.username, f"guess {number}", "here")
    late = await users.log_in(READER.username, password(site, READER), "here")
    assert isinstance(late, Refused)
    assert late.status == 429
    broker.may_answer.set()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "login"))


async def test_many_requests_of_one_user_at_once_are_one_attempt(site: Prepared) -> None:
    """Another display's server asks for a page full of pictures before it has an answer to the first."""
    broker = SlowBroker(site)
    users = Sessions(broker, "north", clock=Clock())
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(users.by_password(READER.username, password(site, READER), "wall"))
            for _ in range(40)
        ]
        await asyncio.sleep(0)
        broker.may_answer.set()
    assert not [task.result() for task in asked if isinstance(task.result(), Refused)]
    assert broker.asked == 1


async def test_a_page_of_another_place_logs_nobody_in(display: Display, site: Prepared) -> None:
    body = {"user": READER.username, "password": password(site, READER)}
    async with browser_at(display, site) as browser:
        foreign = await browser.post("/api/login", json=body, headers={"origin": "https://evil.example"})
        form = await browser.post("/api/login", data=body)
    assert (foreign.status_code, form.status_code) == (403, 415)
    assert "set-cookie" not in foreign.headers


async def test_more_than_a_name_and_a_password_is_not_read(display: Display, site: Prepared) -> None:
    async def body(n_bytes: float) -> AsyncIterator[bytes]:
        sent = 0
        while sent < n_bytes:
            yield b" " * 1000
            sent += 1000

    headers = {"content-type": "application/json"}
    async with browser_at(display, site) as browser:
        announced = await browser.post("/api/login", json={"user": "x" * 5000, "password": ""})
        unannounced = await browser.post("/api/login", content=body(6000), headers=headers)
        assert (announced.status_code, unannounced.status_code) == (413, 413)
        async with asyncio.timeout(60):
            with pytest.raises(httpx.TransportError):
                await browser.post("/api/login", content=body(math.inf), headers=headers)


async def test_while_the_broker_is_away_nobody_new_gets_in_and_who_is_in_stays(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    mosquitto_path()
    site = prepared(tmp_path_factory.mktemp("site") / "broker")
    with site.running() as broker:
        async with over_tls(site) as display, browser_at(display, site) as browser:
            assert (await log_in(browser, READER, password(site, READER))).status_code == 200
            broker.terminate()
            await asyncio.to_thread(broker.wait, 10)
            async with browser_at(display, site) as late:
                refused = await log_in(late, READER, password(site, READER))
            assert refused.status_code == 503
            assert "does not answer" in refused.json()["error"]
            assert (await browser.get("/api/bscans")).status_code == 200


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_whose_rights_were_taken_away_is_out_within_minutes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    mosquitto_path()
    site, clock = prepared(tmp_path_factory.mktemp("site") / "broker"), Clock()
    users = Sessions(Prover(site.settings(READER, timeout_s=30.0), ""), "north", clock=clock)
    with site.running() as broker:
        token = await users.log_in(READER.username, password(site, READER), "here")
        assert isinstance(token, str)
        passwords = site.folder / "broker" / "passwords"
        kept = [line for line in passwords.read_text().splitlines() if not line.startswith(READER.username)]
        passwords.write_text("\n".join(kept) + "\n")
        broker.send_signal(signal.SIGHUP)
        assert await users.by_token(token) is not None
        clock.now_s += sessions.PROVED_AGAIN_S + 1
        async with asyncio.timeout(60):
            while await users.by_token(token) is not None:
                # Another process takes its signal when it likes.
                clock.now_s += sessions.PROVED_AGAIN_S + 1


async def test_a_session_ends_after_a_working_day(site: Prepared) -> None:
    clock = Clock()
    users = Sessions(Prover(site.settings(READER), ""), "north", clock=clock)
    token = await users.log_in(READER.username, password(site, READER), "here")
    assert isinstance(token, str)
    clock.now_s += sessions.SESSION_S - 1
    assert await users.by_token(token) is not None
    clock.now_s += 2
    assert await users.by_token(token) is None


async def test_failures_are_forgotten_after_a_minute(site: Prepared) -> None:
    clock = Clock()
    users = Sessions(Prover(site.settings(READER), ""), "north", clock=clock)
    for _ in range(sessions.MOST_FAILURES):
        await users.log_in("nobody", "", "here")
    refused = await users.log_in(READER.username, password(site, READER), "here")
    assert isinstance(refused, Refused)
    assert refused.status == 429
    assert refused.retry_after_s is not None
    clock.now_s += refused.retry_after_s
    assert isinstance(await users.log_in(READER.username, password(site, READER), "here"), str)


async def test_passwords_do_not_get_into_words(site: Prepared) -> None:
    users = Sessions(Prover(site.settings(READER), ""), "north")
    secret = password(site, READER)
    session = await users.by_password(READER.username, secret, "here")
    assert secret not in repr(session)
    assert secret not in repr(users.__dict__)


async def test_where_the_page_goes_to_the_broker_itself_users_are_proved_there(site: Prepared) -> None:
    where = f"wss://127.0.0.1:{site.websocket_port}"
    async with over_tls(site, broker_websocket=where) as display, browser_at(display, site) as browser:
        assert (await log_in(browser, READER, "wrong")).status_code == 401
        assert (await log_in(browser, READER, password(site, READER))).status_code == 200
        about = await browser.get("/api/site")
        assert about.json()["broker_websocket"] == where
        assert f"connect-src 'self' {where};" in about.headers["content-security-policy"]
        assert (await browser.get("/mqtt")).status_code == 404


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=40,
    deadline=None,
)
@given(body=st.binary(max_size=200), authorization=st.binary(max_size=60))
async def test_whatever_is_sent_is_refused_and_breaks_nothing(
    display: Display, site: Prepared, body: bytes, authorization: bytes
) -> None:
    async with browser_at(display, site) as browser:
        login = await browser.post("/api/login", content=body, headers={"content-type": "application/json"})
        assert login.status_code in (400, 401, 429)
        header = bytes(byte for byte in authorization if 32 <= byte < 127)
        for value in (header.strip(), (b"Basic " + header).strip()):
            answer = await browser.get("/api/bscans", headers=[(b"authorization", value)])
            assert answer.status_code in (401, 429)
