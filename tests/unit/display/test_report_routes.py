"""The report's routes: who sees it, what a signer adds, and that nothing changes what was signed, by whatever way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from starlette.routing import Route
from tests.unit.case.examples import CASE, SPECIMEN, bodies, ready, sweep
from tests.unit.display.conftest import Display, displayed

from octmargin.bus import BrokerSettings
from octmargin.case.record import events
from octmargin.case.record.store import CaseStore
from octmargin.case.record.verification import verify
from octmargin.display import BscanStore, OwnResults, ReportDesk
from octmargin.display.report_routes import report_routes
from octmargin.record_settings import RecordSection, Signer

BASE = f"/api/report/{CASE}/{SPECIMEN}"
SECTION = {"signers": (Signer(name="Dr. Ada Reyes", role="surgeon", taxonomy="2086X0206X", user="local"),)}
FACES = [{"face": "medial", "finding": "suspicious"}, {"face": "lateral", "finding": "not_assessed"}]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.db"
    CaseStore.create(path)
    with CaseStore.open(path, writable=True) as store:
        ready(store, "scanned")
    return path


def results(record: Path, **section: Any) -> OwnResults:
    desk = ReportDesk(RecordSection(file=str(record), **{**SECTION, **section}))
    return OwnResults(BscanStore(1), lambda: None, desk)


@pytest.fixture
async def display(broker: BrokerSettings, record: Path) -> AsyncIterator[Display]:
    async with displayed(broker, results=results(record)) as running:
        yield running


def content(record: Path) -> list[Any]:
    with CaseStore.open(record) as store:
        return list(store.events())


async def interpret(browser: httpx.AsyncClient, state: str, **changes: Any) -> httpx.Response:
    seq = (await browser.get(BASE)).json()["log_seq"]
    body = {"log_seq": seq, "state": state, "faces": FACES, "text": "as seen"}
    return await browser.post(f"{BASE}/interpretation", json=body | changes)


async def sign(browser: httpx.AsyncClient) -> httpx.Response:
    seq = (await browser.get(BASE)).json()["log_seq"]
    return await browser.post(f"{BASE}/signature", json={"log_seq": seq})


async def test_a_signer_interprets_makes_it_final_and_signs_and_the_record_says_who(
    display: Display, record: Path
) -> None:
    async with display.http() as browser:
        seen = (await browser.get(BASE)).json()
        assert (seen["phase"], seen["signer"]["name"]) == ("scanned", "Dr. Ada Reyes")
        assert (await interpret(browser, "preliminary", faces=FACES[:1])).json()["phase"] == "preliminary"
        refused = await interpret(browser, "final", faces=FACES[:1])
        assert (refused.status_code, "missing: lateral" in refused.json()["error"]) == (409, True)
        assert (await sign(browser)).status_code == 409, "what is not final is not signed"
        assert (await interpret(browser, "final")).json()["phase"] == "final"
        signed = (await sign(browser)).json()
        assert (signed["phase"], signed["signature"]["by"]["name"]) == ("signed", "Dr. Ada Reyes")
    with CaseStore.open(record) as store:
        said = store.case(CASE).specimens[0].interpretation
    assert said is not None
    assert (said.mode, said.text, said.by.taxonomy) == ("real-time", "as seen", "2086X0206X")
    assert content(record)[-1].actor == "reader/local"
    assert verify(record).troubles == ()


async def test_what_was_added_meanwhile_is_looked_at_before_anything_is_said(
    display: Display, record: Path
) -> None:
    async with display.http() as browser:
        seen = (await browser.get(BASE)).json()
        with CaseStore.open(record, writable=True) as store:
            store.append(CASE, bodies()["sweep"], actor="octmargin run")
        refused = await interpret(browser, "final", log_seq=seen["log_seq"])
    assert refused.status_code == 409
    assert "look at it again" in refused.json()["error"]


async def test_no_route_changes_a_signed_report(display: Display, record: Path) -> None:
    async with display.http() as browser:
        await interpret(browser, "final")
        await sign(browser)
        before = content(record)
        for route in report_routes(ReportDesk(RecordSection(file=str(record)))):
            assert isinstance(route, Route)
            path = route.path.format(case_id=CASE, specimen_id=SPECIMEN, form="none")
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                for body in (
                    {"log_seq": before[-1].seq},
                    {"log_seq": before[-1].seq, "state": "final", "faces": FACES},
                ):
                    answer = await browser.request(method, path, json=body)
                    assert answer.status_code in (400, 404, 405, 409), (method, path)
    assert content(record) == before


@pytest.mark.parametrize(
    ("role", "user", "sees", "signs"),
    [
        ("viewer", "local", 403, 403),
        ("operator", "local", 200, 403),
        ("reader", "other", 200, 403),
        ("reader", "local", 200, 200),
    ],
)
async def test_who_sees_it_and_who_signs(
    broker: BrokerSettings, record: Path, role: str, user: str, sees: int, signs: int
) -> None:
    async with (
        displayed(broker, results=results(record), role=role, user=user) as display,
        display.http() as browser,
    ):
        assert (await browser.get(BASE)).status_code == sees
        body = {"log_seq": content(record)[-1].seq, "state": "final", "faces": FACES}
        assert (await browser.post(f"{BASE}/interpretation", json=body)).status_code == signs


async def test_where_nobody_logs_in_what_was_measured_is_not_signed(
    broker: BrokerSettings, record: Path
) -> None:
    async with (
        displayed(broker, results=results(record, sign_without_login=True)) as display,
        display.http() as browser,
    ):
        assert (await interpret(browser, "preliminary")).status_code == 200, "it is synthetic"
        with CaseStore.open(record, writable=True) as store:
            measured = events.Swept(specimen_id=SPECIMEN, sweep=sweep(number=2, synthetic=False))
            store.append(CASE, measured, actor="octmargin run")
        refused = await interpret(browser, "final")
    assert (refused.status_code, "nobody logs in here" in refused.json()["error"]) == (409, True)


async def test_a_face_that_was_scanned_since_the_interpretation_is_to_be_said_anew(
    display: Display, record: Path
) -> None:
    async with display.http() as browser:
        told = (await interpret(browser, "final")).json()
        assert [face.get("outdated", False) for face in told["faces"]] == [False, False]
        with CaseStore.open(record, writable=True) as store:
            later = datetime.now(UTC)
            again = sweep(number=2, verdict="suspicious", started_at=later, ended_at=later)
            store.append(CASE, events.Swept(specimen_id=SPECIMEN, sweep=again), actor="octmargin run")
        told = (await browser.get(BASE)).json()
    assert [face.get("outdated", False) for face in told["faces"]] == [True, False]


async def test_what_was_scanned_long_ago_is_interpreted_as_referred(display: Display, record: Path) -> None:
    with CaseStore.open(record, writable=True) as store:
        long_ago = datetime.now(UTC) - timedelta(hours=3)
        old = replace(sweep(), started_at=long_ago, ended_at=long_ago)
        ready(store, case_id="case-8")
        store.append("case-8", events.Swept(specimen_id=SPECIMEN, sweep=old), actor="octmargin run")
        seq = store.case("case-8").log_seq
    body = {"log_seq": seq, "state": "preliminary", "faces": FACES[:1]}
    async with display.http() as browser:
        told = await browser.post(f"/api/report/case-8/{SPECIMEN}/interpretation", json=body)
    assert told.json()["interpretation"]["mode"] == "referred"


async def test_the_documents_are_the_report_and_run_nothing(display: Display, record: Path) -> None:
    async with display.http() as browser:
        html = await browser.get(f"{BASE}/html", timeout=120)
        assert "Intraoperative OCT margin assessment" in html.text
        assert "PRELIMINARY" in html.text
        assert "SYNTHETIC" in html.text
        assert "script" not in html.headers["content-security-policy"]
        assert html.headers["content-security-policy"].startswith("default-src 'none'")
        assert html.headers["cache-control"] == "no-store"
        assert (await browser.get(f"{BASE}/docx")).status_code == 404
        assert (await browser.get(f"/api/report/{CASE}/nobody/text", timeout=120)).status_code == 409
    with CaseStore.open(record) as store:
        assert ("reader/local", CASE) in [(one.actor, one.case_id) for one in store.accesses()]


async def test_a_page_of_another_place_cannot_sign(display: Display, record: Path) -> None:
    before = content(record)
    async with display.http(headers={"origin": "http://elsewhere.example"}) as browser:
        answer = await browser.post(f"{BASE}/signature", json={"log_seq": before[-1].seq})
    assert answer.status_code == 403
    assert content(record) == before
