"""The report's page in a browser: read, interpreted, made final and signed by somebody who may."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from playwright.async_api import Browser, Dialog, expect
from tests.browser.conftest import screen
from tests.unit.case.examples import CASE, NOW, SPECIMEN, ready, sweep
from tests.unit.display.conftest import displayed
from tests.unit.display.test_bscan_routes import kept
from tests.unit.display.test_bscan_store import about

from octmargin.bus import BrokerSettings
from octmargin.case.record import events
from octmargin.case.record.store import CaseStore
from octmargin.display import BscanStore, OwnResults, ReportDesk
from octmargin.record_settings import RecordSection, Signer

WHOSE = "Test, Patient · 0001 · side LEFT"
_COMES_MS = 170_000
"""A report is made by a process of its own."""


async def test_a_surgeon_reads_interprets_and_signs(browser: Browser, tmp_path: Path) -> None:
    record = tmp_path / "record.db"
    CaseStore.create(record)
    with CaseStore.open(record, writable=True) as store:
        ready(store, "scanned")
        sweeps = store.case(CASE).specimens[0].sweeps
    signer = Signer(name="Dr. Ada Reyes", role="surgeon", user="local")
    bscans = BscanStore(10_000_000)
    (seen,) = sweeps
    bscans.keep(bscans.begin(1, replace(about(), face=seen.face, session=seen.session)), 0, kept(0))
    results = OwnResults(bscans, lambda: None, ReportDesk(RecordSection(file=str(record), signers=(signer,))))
    async with displayed(BrokerSettings(), results=results) as display, screen(browser) as context:
        page = await context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{display.url}static/report.html?case={CASE}&specimen={SPECIMEN}")
        state = page.locator("#state")
        await expect(state).to_contain_text("SYNTHETIC. PRELIMINARY")
        scan = page.get_by_role("img", name="SYNTHETIC medial: B-scan 1, 1 of 3 blocks suspicious")
        await expect(scan).to_be_visible()
        paper = page.frame_locator("#paper")
        await expect(paper.get_by_role("heading", level=1)).to_have_text(
            "Intraoperative OCT margin assessment", timeout=_COMES_MS
        )
        await page.get_by_label("Finding, medial").select_option("suspicious")
        await page.get_by_role("button", name="Make final").click()
        await expect(page.get_by_role("alert")).to_contain_text("missing: lateral")
        await page.get_by_label("Finding, lateral").select_option("not_assessed")
        await page.get_by_label("Action, medial").fill("re-excised")
        await page.get_by_role("button", name="Make final").click()
        await expect(state).to_contain_text("FINAL, NOT SIGNED")
        with CaseStore.open(record, writable=True) as store:
            at = NOW + timedelta(minutes=20)
            again = sweep(number=2, verdict="suspicious", started_at=at, ended_at=at)
            store.append(CASE, events.Swept(specimen_id=SPECIMEN, sweep=again), actor="octmargin run")
        await page.reload()
        await expect(page.get_by_label("Finding, medial")).to_have_value("")
        await expect(page.get_by_label("Finding, lateral")).to_have_value("not_assessed")
        await page.get_by_label("Finding, medial").select_option("suspicious")
        await page.get_by_label("Action, medial").fill("re-excised")
        await page.get_by_role("button", name="Make final").click()
        await expect(state).to_contain_text("FINAL, NOT SIGNED")
        sign = page.get_by_role("button", name="Sign")
        await expect(sign).to_have_text("Sign (when the report is shown)")
        await expect(sign).to_be_disabled()
        await expect(sign).to_be_enabled(timeout=_COMES_MS)
        await expect(paper.get_by_text("re-excised").first).to_be_visible()
        asked: list[str] = []

        async def accept(dialog: Dialog) -> None:
            asked.append(dialog.message)
            await dialog.accept()

        page.on("dialog", accept)
        await sign.click()
        await expect(state).to_contain_text("SIGNED: it is never changed")
        await expect(page.get_by_role("button", name="Sign")).to_be_hidden()
        await expect(paper.get_by_text("Signed by Dr. Ada Reyes").first).to_be_visible(timeout=_COMES_MS)
        await expect(page.get_by_role("heading", level=1)).to_contain_text(WHOSE)
        assert len(asked) == 1
        assert WHOSE.replace(" · side", ", side") in asked[0]
        assert not complaints, f"the page failed: {complaints}"
    with CaseStore.open(record) as store:
        specimen = store.case(CASE).specimens[0]
    assert specimen.phase == "signed"
    assert specimen.interpretation is not None
    assert specimen.interpretation.faces[0].action == "re-excised"
