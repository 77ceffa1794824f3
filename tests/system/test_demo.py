"""The demonstration as a user runs it: real processes, a real wire, a real broker, an independent subscriber."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from octmargin.case.record.store import CaseStore
from octmargin.case.record.verification import verify

OCTMARGIN = [sys.executable, "-m", "octmargin"]


def run_demo(folder: Path, *options: str, timeout: float = 380) -> dict[str, Any]:
    path = folder / "out.json"
    done = subprocess.run(
        [*OCTMARGIN, "demo", "--headless", "--json", str(path), "--folder", str(folder / "case"), *options],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(path.read_text())
    return summary


def assert_books_balance(summary: dict[str, Any]) -> None:
    frames, flags = summary["frames"], summary["flags"]
    assert frames["sent"] == frames["processed"] + frames["lost"]
    assert flags["published"] == flags["received"] > 0
    assert flags["messages_received"] == frames["processed"]


def assert_faces_are_right(
    summary: dict[str, Any], *, poor: str = "", found: tuple[str, ...] = ("suspicious",)
) -> None:
    assert {face["truth"] for face in summary["faces"]} == {"clear", "suspicious"}
    assert "suspicious" in {face["verdict"] for face in summary["faces"]}
    for face in summary["faces"]:
        if face["truth"] == "suspicious":
            assert face["verdict"] in found
        else:
            assert face["verdict"] in ("nothing_suspicious", "indeterminate")
        if face["face"] == poor:
            assert face["verdict"] == "indeterminate"
            assert face["coverage"] < 0.5
        else:
            # Frames may be lost where the machine is busy.
            assert 0.6 < face["coverage"] <= 1.0
        assert face["visualised_depth_mm"] > 0.3


def test_a_specimen_over_usb(tmp_path: Path) -> None:
    summary = run_demo(
        tmp_path, "--passes", "1", "--console", "usb", "--pictures", str(tmp_path / "pictures")
    )
    assert_books_balance(summary)
    # What is staged: a tumour at one face, a poor face, and one on which the console drops frames.
    assert_faces_are_right(summary, poor="posterior")
    assert [face["face"] for face in summary["faces"] if face["truth"] == "suspicious"] == ["medial"]
    assert summary["frames"]["lost_by_reason"]["dropped by the console, the host was too slow"] >= 2
    assert summary["console"] == "usb"
    assert summary["synthetic"] is True
    assert summary["latency_ms"]["p50"] > 0
    sheets = sorted((tmp_path / "pictures").glob("face-*.png"))
    assert len({sheet.name.split("-")[1] for sheet in sheets}) == 6
    assert_report_is_signed(tmp_path / "case")


def assert_report_is_signed(folder: Path) -> None:
    """The record is whole, and every file of the report is there, with each face and the word SYNTHETIC."""
    assert verify(folder / "record.db").troubles == ()
    with CaseStore.open(folder / "record.db") as store:
        specimen = store.case("demo-1").specimen("demo-1")
    assert specimen is not None
    assert specimen.phase == "signed"
    assert {one.face: one.finding for one in specimen.interpretation.faces}["medial"] == "suspicious"
    assert {(one.role, one.word) for one in specimen.decisions if one.face == "medial"} == {
        ("reader", "agree")
    }
    reports = folder / "reports"
    assert {path.name.removeprefix("report-demo-1-final") for path in reports.iterdir()} == {
        ".pdf", ".html", ".txt", "-coding.json", "-coding.csv",
    }  # fmt: skip
    document = pypdfium2.PdfDocument(reports / "report-demo-1-final.pdf")
    pages = [page.get_textpage().get_text_range() for page in document]
    assert all("SYNTHETIC" in page and "Research use only" in page for page in pages)
    assert all(name in pages[0] for name in ("FINAL", "Signed by Dr. Synthetic (simulated surgeon)"))
    assert all(face in pages[0] for face in specimen.faces)
    assert len(specimen.faces) == 6
    assert "SYNTHETIC" in (reports / "report-demo-1-final.txt").read_text()


def test_a_specimen_over_a_serial_line(tmp_path: Path) -> None:
    summary = run_demo(tmp_path, "--passes", "1", "--console", "serial", "--seed", "4")
    assert_books_balance(summary)
    # So small a field leaves a small lesion open.
    assert_faces_are_right(summary, found=("suspicious", "indeterminate"))


@pytest.mark.real_data
def test_real_spectra_cross_the_real_usb_wire(tmp_path: Path, real_data: Path) -> None:
    source = real_data / "py-oct-calibration" / "cscan.npy"
    pictures = tmp_path / "pictures"
    summary = run_demo(tmp_path, "--seconds", "2", "--source", str(source), "--pictures", str(pictures))
    assert_books_balance(summary)
    assert summary["synthetic"] is False
    assert [face["truth"] for face in summary["faces"]] == [None]
    assert list(pictures.glob("face-superior-*.png"))
    # Where the sample's surface is clear (frame 48), the picture is dark above it and bright below.
    image = np.asarray(Image.open(pictures / "superior" / "bscan-sweep1-frame0048.png").convert("L"), float)
    rows = image[:, 200:800].mean(axis=1)
    assert rows[60:100].mean() > 2 * rows[10:30].mean()


def test_a_demo_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    command = [*OCTMARGIN, "demo", "--headless", "--seconds", "60", "--console", "serial"]
    command += ["--folder", str(tmp_path / "case")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if "starting the daemon" in line:
                break
        children = descendants(demo.pid)
        demo.kill()
    assert len(children) >= 2
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "orphans are still running"
        # Processes of another parent cannot be awaited.
        time.sleep(0.05)


@pytest.mark.parametrize("after", ["starting the simulated console", "starting the daemon"])
def test_ctrl_c_before_the_first_frame_is_a_clean_end(after: str) -> None:
    with subprocess.Popen(
        [*OCTMARGIN, "demo", "--headless"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if after in line:
                break
        children = descendants(demo.pid)
        demo.send_signal(signal.SIGINT)
        output, complaints = demo.communicate(timeout=300)
    assert demo.returncode == 0, complaints
    assert "stopped before the first frame" in output
    assert "Traceback" not in complaints
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_in_a_pipe_it_has_a_line_for_what_matters_and_says_at_once_that_it_stops() -> None:
    command = [*OCTMARGIN, "demo", "--console", "serial", "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        assert demo.stderr is not None
        said = []
        for line in demo.stderr:
            said.append(line.decode().rstrip("\n"))
            if said[-1].startswith("superior, sweep 1: "):
                break
        demo.send_signal(signal.SIGINT)
        output, rest = demo.communicate(timeout=300)
    assert demo.returncode == 0, [*said, rest.decode()]
    lines = [*said, *rest.decode().splitlines()]
    assert "stopping ..." in lines[len(said) :]
    assert said[-1].endswith("(SYNTHETIC)")
    assert "the daemon is ready" in lines
    assert len(set(lines)) == len(lines), "nothing is said twice"
    for told in ("\n".join(lines), output.decode()):
        assert not set("\r\x1b\x08") & set(told)


class Terminal:
    """A program in a terminal, as a person sees it."""

    def __init__(self, *command: str) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def read_until(self, text: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            readable, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"{text!r} did not appear within {seconds} s in:\n{self.seen}"
            self.seen += os.read(self._master, 65536).decode(errors="replace")

    def read_to_end(self, *, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0]:
            try:
                self.seen += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # how a terminal says that its last program has gone
                break
        return self.process.wait(max(1, deadline - time.monotonic()))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def live_demo(tmp_path: Path) -> Iterator[Terminal]:
    options = ["--json", str(tmp_path / "out.json"), "--folder", str(tmp_path / "case")]
    terminal = Terminal(*OCTMARGIN, "demo", "--console", "serial", *options)
    yield terminal
    terminal.close()


def test_the_live_view_shows_the_faces_and_ctrl_c_stops_everything_cleanly(
    live_demo: Terminal, tmp_path: Path
) -> None:
    live_demo.read_until("the display: ", seconds=300)
    live_demo.read_until("SYNTHETIC", seconds=300)
    live_demo.read_until("superior", seconds=300)
    address = re.search(r"the display: (http://127\.0\.0\.1:\d+/)", live_demo.seen)
    assert address
    # Scanned as somebody at the display would have it: registered, and begun by command.
    sweeps: list[dict[str, Any]] = []
    deadline = time.monotonic() + 200
    while not sweeps and time.monotonic() < deadline:
        time.sleep(0.2)  # another process: there is no event to await
        with urllib.request.urlopen(f"{address[1]}api/bscans") as answer:  # noqa: S310 - http, as matched
            sweeps = json.load(answer)["sweeps"]
    assert sweeps[0]["specimen_id"] == "demo-1"
    assert sweeps[0]["synthetic"] is True
    children = descendants(live_demo.process.pid)
    assert len(children) >= 3, "broker, simulator and daemon are processes of their own"
    live_demo.process.send_signal(signal.SIGINT)
    code = live_demo.read_to_end(seconds=110)
    assert code == 0, live_demo.seen
    assert "Traceback" not in live_demo.seen
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert_whole(json.loads((tmp_path / "out.json").read_text()))


def assert_whole(summary: dict[str, Any]) -> None:
    frames = summary["frames"]
    assert frames["sent"] == frames["processed"] + frames["lost"]


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            child = int(path.parent.name)
            found += [child, *descendants(child)]
    return found
