"""`octmargin bench` as a user runs it: complete, consistent figures with their conditions."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = [sys.executable, "-m", "octmargin", "bench"]
SMALL = ["--alines", "32", "--rounds", "2"]


def run_bench(*arguments: str) -> tuple[str, subprocess.CompletedProcess[str]]:
    done = subprocess.run([*BENCH, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done


def assert_timed(row: dict[str, Any]) -> None:
    timing = row["timing"]
    assert 0 < timing["minimum_us"] <= timing["median_us"]
    assert timing["alines_per_s"] == pytest.approx(1e6 / timing["median_us"])
    assert timing["ratio"] > 0


def test_kernels_give_every_row_with_its_conditions(tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    table, _ = run_bench("kernels", *SMALL, "--json", str(path))
    report = json.loads(path.read_text())
    assert report["plan"] == {"samples": 2048, "alines": 32, "depth": 1024, "rounds": 2, "threads": 2}
    machine = report["machine"]
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["compiled_for"]["lanes"] <= machine["available"]["lanes"]
    assert all(peak > 0 for peak in report["peaks"].values())
    assert report["chains_differ_db"] < 0.05
    rows = {row["name"]: row for row in report["rows"]}
    assert set(rows) >= {
        "scipy.fft", "FFTW, PATIENT plan", "numpy+scipy chain", "octmargin chain", "octmargin chain, 2 threads",
        "octmargin chain, stream, 1 thread", "octmargin chain, stream, 2 threads",
        "surface", "attenuation", "flags, rule-1", "flags, margin-1", "texture", "chain + all of these",
    }  # fmt: skip
    for row in rows.values():
        assert row["name"] in table
        if row["timing"] is None:
            assert "pip install" in row["note"]
        else:
            assert_timed(row)
    assert rows["scipy.fft"]["timing"]["ratio"] == 1.0
    assert rows["scipy.fft"]["roof_us"] > 0
    for said in (machine["cpu"], machine["compiled_for"]["name"], "synthetic", "2 interleaved rounds"):
        assert said in table


def test_what_wide_vectors_gain_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    options = ("--samples", "256", "--depth", "128", "--compare-cpu", "generic")
    table, _ = run_bench("kernels", *SMALL, *options, "--json", str(path))
    report = json.loads(path.read_text())
    compared = report["compared"]
    assert compared["machine"]["llvm_cpu"] == "generic"
    assert [row["name"] for row in compared["rows"]] == [row["name"] for row in report["rows"]]
    assert "compiled for generic" in table


def test_engine_accounts_for_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    table, _ = run_bench("engine", "--alines", "32", "--frames", "20", "--json", str(path))
    report = json.loads(path.read_text())
    assert [run["threads"] for run in report["runs"]] == [1, 2]
    for run in report["runs"]:
        assert run["fed"] == run["judged"] + run["lost"] == 20
        assert 0 < run["latency_p50_ms"] <= run["latency_p99_ms"]
        assert math.isfinite(run["alines_per_s"])
    assert "engine threads" in table


def test_output_that_is_no_terminal_is_plain_text() -> None:
    table, done = run_bench("kernels", *SMALL, "--samples", "128")
    assert "\x1b" not in table + done.stderr
    (line,) = [line for line in table.splitlines() if line.startswith("scipy.fft")]
    assert "A-line" not in line
    assert "128 points" in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("kernels", "--samples", "64", "--depth", "33"), "depths from 1 to 32"),
        (("kernels", "--json", "/no/such/folder/out.json"), "name a file in a folder that exists"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], complaint: str) -> None:
    done = subprocess.run([*BENCH, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_link_accounts_for_every_frame_beside_the_machines_limits(tmp_path: Path) -> None:
    path = tmp_path / "link.json"
    options = ("--samples", "512", "--alines", "64", "--seconds", "0.5", "--rates", "20000,40000")
    table, _ = run_bench("link", *options, "--json", str(path))
    report = json.loads(path.read_text())
    assert report["copy_mb_per_s"] > 0
    assert report["socket_mb_per_s"] > 0
    assert [run["rate_hz"] for run in report["runs"]] == [20_000, 40_000]
    for run in report["runs"]:
        assert run["numbered"] == run["received"] + sum(run["lost_by_cause"].values()) > 0
        assert run["mb_per_s"] == pytest.approx(run["received"] * 64 * 512 * 2 / run["seconds"] / 1e6)
        assert run["mb_per_s"] <= 1.05 * run["rate_hz"] * 512 * 2 / 1e6, "no faster than the console scans"
        assert f"{run['rate_hz']:,.0f}" in table


def test_a_serial_line_is_measured_against_what_its_baud_rate_carries(tmp_path: Path) -> None:
    path = tmp_path / "link.json"
    options = ("--baud", "3000000", "--samples", "256", "--alines", "16", "--seconds", "0.5")
    table, _ = run_bench("link", *options, "--json", str(path))
    report = json.loads(path.read_text())
    carried_hz = 3e6 / 10 / (2 * 256)
    assert [run["rate_hz"] for run in report["runs"]] == pytest.approx(
        [0.5 * carried_hz, 0.9 * carried_hz, 1.2 * carried_hz]
    )
    for run in report["runs"]:
        assert run["numbered"] == run["received"] + sum(run["lost_by_cause"].values()) > 0
        assert run["mb_per_s"] <= 0.3, "no faster than the line"
    assert "a serial line of 3,000,000 baud, which carries 0.3 MB/s" in table


@pytest.mark.parametrize("rates", ["fast", "0", "1000,-5"])
def test_rates_that_are_none_are_refused(rates: str) -> None:
    done = subprocess.run(
        [*BENCH, "link", "--rates", rates], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0
    assert done.stderr.startswith(f"octmargin: --rates {rates}: give A-lines per second")


def test_the_daemon_is_measured_whole_with_every_frame_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    table, _ = run_bench(
        "daemon", "--seconds", "2", "--line-rate-hz", "2000", "--frames", "6", "--alines", "64", "--samples", "512",
        "--record", str(tmp_path), "--json", str(path),
    )  # fmt: skip
    report = json.loads(path.read_text())
    assert report["processed"] > 20
    assert report["numbered_by_console"] == report["processed"] + report["lost"]
    assert report["flags_heard"] == report["processed"]
    for name in ("raw_to_flag_ms", "round_trip_ms", "round_trip_idle_ms"):
        assert 0 < report[name]["p50"] <= report[name]["p99"]
    assert report["frame_ms"] == 32.0
    assert report["recorded"] + report["unrecorded"] >= report["processed"]
    assert report["disk_mb_per_s"] > 0
    assert min(report["rss_settled_mb"], report["rss_end_mb"]) > 50
    assert "every frame accounted for" in table
    assert "SYNTHETIC" in table
    assert list(tmp_path.iterdir()) == [path], "what was recorded is deleted again"
