"""A server of one person: the address is good once, and whoever does not come through it sees and signs nothing."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.unit.case.examples import CASE, SPECIMEN, ready

from octmargin.bus import BrokerSettings, Topics
from octmargin.case.record.store import CaseStore
from octmargin.display import BscanStore, DisplaySection, ReportDesk, make_site, serving_review
from octmargin.record_settings import RecordSection, Signer

PAGE = f"/api/report/{CASE}/{SPECIMEN}"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_one_browser_comes_in_and_nobody_after_it(tmp_path: Path, method: str) -> None:
    path = tmp_path / "record.db"
    CaseStore.create(path)
    with CaseStore.open(path, writable=True) as store:
        ready(store, "final")
        seq = store.case(CASE).log_seq
    signer = Signer(name="Dr. Ada Reyes", role="surgeon", user="reviewer")
    desk = ReportDesk(RecordSection(file=str(path), signers=(signer,)), mode="referred", actor="ann, review")
    section = DisplaySection(port=0, user="reviewer", role="reader")
    site = make_site(Topics("review", "record"), section, BrokerSettings(), has_record=True)
    async with (
        serving_review(section, site, BscanStore(1), desk, page=PAGE) as address,
        httpx.AsyncClient(base_url=httpx.URL(address).join("/"), trust_env=False) as browser,
        httpx.AsyncClient(base_url=browser.base_url, trust_env=False) as other,
    ):
        for client in (browser, other):
            assert (await client.get(PAGE)).status_code == 401
        assert (await other.get("/enter/guessed")).status_code == 403
        assert (await other.post(f"{PAGE}/signature", json={"log_seq": seq})).status_code == 401
        assert (await other.get(PAGE, auth=("reviewer", ""))).status_code == 401
        await other.request(method, "/enter/guessed")
        if method == "HEAD":
            # What looks at a link before somebody opens it does not use it up.
            assert (await other.head(address)).status_code == 200
        assert (await browser.get(address, follow_redirects=True)).json()["phase"] == "final"
        assert (await other.get(address)).status_code == 403
        assert (await other.get(PAGE)).status_code == 401
        assert (await browser.get(PAGE)).status_code == 200
