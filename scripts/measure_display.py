"""Measure the display's page beside the real daemon: flag published to pixel, long tasks, lag, memory over time.

    python scripts/measure_display.py --minutes 30 --json display.json

Broker, simulated console and daemon run as in the demo; the page runs in Debian's Chromium, driven by Playwright. It
looks at the live scan of one face after the other, and goes through B-scans by the keys now and then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from playwright.async_api import CDPSession, Page, async_playwright

from octmargin.bus import EmbeddedBroker
from octmargin.demo_processes import DaemonProcess, Simulator

SAMPLES, ALINES, DEPTH = 1024, 512, 512
CHROMIUM_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
WARM_S = 10.0
EVERY_S = 30.0
# Every 50 ms by the clock; what is later than that, the page was busy.
LAG = """() => {
    window.lagsMs = [];
    let due = performance.now() + 50;
    const look = () => {
        const now = performance.now();
        if (window.lagsMs.length < 100000) window.lagsMs.push(Math.max(0, now - due));
        due = now + 50;
        setTimeout(look, 50);
    };
    setTimeout(look, 50);
    window.greys = 0;
    const note = () => { window.greys += document.body.dataset.live === "false"; };
    new MutationObserver(note).observe(document.body, { attributeFilter: ["data-live"] });
}"""
FIGURES = """() => {
    const { metrics, store } = window.octmargin;
    const lags = window.lagsMs.splice(0).sort((a, b) => a - b);
    const at = (share) => lags.length ? lags[Math.min(lags.length - 1, Math.floor(share * lags.length))] : null;
    const longTasksMs = metrics.longTasksMs.splice(0);
    return {
        flag_to_pixel_ms: metrics.summary(),
        flags: metrics.count,
        frames_per_s: store.tally.flags.framesPerS(Date.now()),
        missed: store.tally.flags.gaps,
        lost: store.tally.health?.frames.lost ?? null,
        lag_ms: { p50: at(0.5), p95: at(0.95), p99: at(0.99), most: lags.at(-1) ?? null },
        long_tasks: longTasksMs.length,
        longest_task_ms: longTasksMs.length ? Math.max(...longTasksMs) : 0,
        greys: window.greys,
        nodes: document.querySelectorAll("*").length,
    };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--frames-per-s", type=float, default=50.0)
    parser.add_argument("--frames", type=int, default=128, help="per sweep")
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures of every half minute, and of the whole."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="octmargin-display-")))
        broker = EmbeddedBroker()
        await asyncio.to_thread(broker.__enter__)
        stack.callback(broker.close)
        page = await _page(stack, await _daemon(stack, folder, broker.port, options), options.size)
        memory = await page.context.new_cdp_session(page)
        await asyncio.sleep(WARM_S)
        await page.evaluate(LAG)
        await page.evaluate("() => window.octmargin.metrics.forget()")
        rows = []
        ends_s = time.monotonic() + 60 * options.minutes
        while time.monotonic() < ends_s:
            await _look_around(page, min(EVERY_S, 60 * options.minutes))
            row = await page.evaluate(FIGURES)
            row["heap_mb"] = round(await _heap_bytes(memory) / 1e6, 2)
            rows.append(row)
            print(_said(row), flush=True)
    conditions = {"frames_per_s": options.frames_per_s, "alines": ALINES, "screen": options.size}
    return {"conditions": conditions, "rows": rows}


async def _daemon(stack: AsyncExitStack, folder: Path, broker_port: int, options: argparse.Namespace) -> str:
    """Console and daemon run from here on; where the page is."""
    source = ["--source", "phantom", "--samples", str(SAMPLES), "--alines", str(ALINES)]
    simulate = ["--console", "usb", "--port", "0", *source, "--frames", str(options.frames)]
    simulator = await stack.enter_async_context(Simulator.started(simulate))
    config = folder / "daemon.toml"
    content = {
        "site": "bench",
        "console": "display",
        "device": {"driver": "usb", "address": simulator.ready["address"]},
        "broker": {"port": broker_port},
        "scan": {"line_rate_hz": options.frames_per_s * ALINES, "passes": 0},
        "engine": {"depth": DEPTH},
        "model": {"name": "rule-1"},
        "display": {"port": 0},
    }
    config.write_bytes(msgspec.toml.encode(content))
    log = folder / "daemon.log"
    await stack.enter_async_context(DaemonProcess.started(config, log))
    # Another process' log: there is no event to await.
    while "state=acquiring" not in (text := log.read_text(errors="replace")):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return text.split("display served", 1)[1].split("url=", 1)[1].split()[0]


async def _page(stack: AsyncExitStack, url: str, size: str) -> Page:
    playwright = await stack.enter_async_context(async_playwright())
    browser = await playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=CHROMIUM_OPTIONS
    )
    stack.push_async_callback(browser.close)
    width, height = (int(part) for part in size.split("x"))
    context = await browser.new_context(viewport={"width": width, "height": height})
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_selector("body[data-live=true]", timeout=60_000)
    return page


async def _look_around(page: Page, seconds: float) -> None:
    """What a person does: watches, and sometimes scrolls through B-scans."""
    await asyncio.sleep(seconds * 0.8)
    for key in ("Home", *["PageDown"] * 6, "End"):
        await page.keyboard.press(key)
        await asyncio.sleep(seconds * 0.02)
    # Back to the scan.
    await page.evaluate("() => window.octmargin.store.followLive()")
    await asyncio.sleep(seconds * 0.04)


async def _heap_bytes(session: CDPSession) -> float:
    """What is left of the page's heap when everything that is not needed is gone."""
    await session.send("HeapProfiler.collectGarbage")
    usage = await session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"])


def _said(row: dict[str, Any]) -> str:
    pixel, lag = row["flag_to_pixel_ms"], row["lag_ms"]
    return (
        f"{row['frames_per_s']:.0f} frames/s, {row['flags']} flags; flag to pixel p50 {pixel['p50']:.0f}, "
        f"p95 {pixel['p95']:.0f}, p99 {pixel['p99']:.0f} ms; lag p50 {lag['p50']:.0f}, p95 {lag['p95']:.0f}, "
        f"p99 {lag['p99']:.0f} ms; {row['long_tasks']} long tasks, the longest {row['longest_task_ms']:.0f} ms; "
        f"heap {row['heap_mb']:.1f} MB, {row['nodes']} elements; "
        f"{row['missed']} flags missed, {row['lost']} frames lost, grey {row['greys']} times; "
        f"load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
