"""The commands around the daemon, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from octmargin.bus import EmbeddedBroker
from octmargin.config_check import space_finding
from octmargin.holding import holding
from octmargin.margin.model_file import read_model
from octmargin.signal import Calibration
from octmargin_simulator.optics import ConsoleOptics, Interferometer

OCTMARGIN = [sys.executable, "-m", "octmargin"]
SUSPICIOUS_AT = read_model("margin-1").operating_point.suspicious_at
SMALL = ["--samples", "512", "--alines", "32", "--frames", "4"]


def output_of(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([*OCTMARGIN, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(params=["usb", "serial"])
def simulated(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    command = [
        *OCTMARGIN,
        "simulate",
        "--json",
        "--stop-on-eof",
        "--console",
        request.param,
        "--port",
        "0",
        *SMALL,
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "ready":
                yield event
                break
        process.stdin.close()
        last = [json.loads(line) for line in process.stdout][-1]
        assert last["event"] == "ended"
        assert process.wait(20) == 0


def test_devices_tells_maker_model_serial_firmware_and_address(simulated: dict[str, Any]) -> None:
    where = f"{simulated['console']}:{simulated['address']}"
    found = json.loads(output_of("devices", "--json", "--address", where))
    (info,) = [entry for entry in found if entry["address"] == simulated["address"]]
    assert info["maker"] == "octmargin"
    assert info["model"] == "Simulated OCT console"
    assert info["serial"] == "SIM-0001"
    assert info["firmware"] == "1.0.0"
    table = output_of("devices", "--address", where)
    assert "octmargin Simulated OCT console\n  serial number SIM-0001, firmware 1.0.0" in table
    assert f'address = "{simulated["address"]}"' in table, "it can be copied into a configuration"


def test_devices_says_in_one_line_why_a_console_cannot_be_asked() -> None:
    done = subprocess.run(
        [*OCTMARGIN, "devices", "--address", "usb:usbip://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "no console there; start one with `octmargin simulate`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_doctor_checks_what_a_configuration_needs(tmp_path: Path, simulated: dict[str, Any]) -> None:
    config = tmp_path / "c.toml"
    with EmbeddedBroker() as broker:
        config.write_text(
            f'site = "t"\nconsole = "c"\n[device]\ndriver = "{simulated["console"]}"\n'
            f'address = "{simulated["address"]}"\n[broker]\nport = {broker.port}\n'
        )
        said = output_of("doctor", "-c", str(config))
        assert "PROBLEM" not in said
        assert "SIM-0001" in said
        # The phantom is coarser than what the model knows, and is scanned all the same.
        assert "note    grid: margin-1 knows A-lines 12 to 20 µm apart" in said
        assert "knows this grid as model.name" in said
        narrow = tmp_path / "narrow.toml"
        narrow.write_text(config.read_text() + '[model]\nname = "rule-1"\n[policy]\nmax_frame_um = 5\n')
        said = output_of("doctor", "-c", str(narrow))
        assert re.search(r"note    grid: frames \d+ µm apart, and policy\.max_frame_um is 5", said)
    said = " ".join(output_of("doctor", "-c", str(config), code=1).split())
    assert "PROBLEM" in said
    assert "set broker.host" in said
    # With an outbox the daemon starts without a broker.
    with config.open("a") as file:
        file.write(f'outbox_file = "{tmp_path}/outbox"\n')
    said = " ".join(output_of("doctor", "-c", str(config)).split())
    assert "PROBLEM" not in said
    assert "no broker" in said
    assert "waits in the outbox" in said


@pytest.mark.parametrize("content", [None, "[scan"])
def test_doctor_checks_nothing_else_where_the_configuration_cannot_be_used(
    tmp_path: Path, content: str | None
) -> None:
    config = tmp_path / "c.toml"
    if content is not None:
        config.write_text(content)
    done = subprocess.run(
        [*OCTMARGIN, "doctor", "-c", str(config)], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"octmargin: {config}: ")


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ('[calibration]\nfile = "none.npz"', "none.npz"),
        ("", "the console brings no calibration; make one with `octmargin calibrate`"),
        ("[calibration]\nfile = '{cal}'", "set calibration.axial_um"),
        ('[scan]\nfaces = ["medial"]', 'the console has no face "medial"; it offers superior'),
        ('[broker]\nusername = "or"\npassword_file = "/none/password"', "/none/password"),
        ("[pictures]\nfolder = '{cal}'", "is no folder"),
        ("[recording]\nfolder = '{cal}'", "is no folder that can be written"),
        ("[pictures]\nfolder = '/proc/pics'", "pictures.folder: /proc/pics is no folder that can be written"),
        ("[policy]\nsuspicious_at = 0.1\ndoubtful_at = 0.5", "doubtful_at is 0.5, above suspicious_at, 0.1"),
        (
            "[policy]\ndoubtful_at = 0.9",
            f"doubtful_at is 0.9, above suspicious_at, {SUSPICIOUS_AT:g}; lower it",
        ),
        ('[model]\nname = "none"', "model 'none' does not exist"),
        ("[recording]\nfolder = '/proc/rec'", "recording.folder: /proc/rec is no folder that can be written"),
        ("[broker]\noutbox_file = '{cal}'", "is not a store of messages"),
        ('[broker]\noutbox_file = "/none/outbox"', "/none is no folder that can be written"),
        ('[broker]\noutbox_file = "/"', "/ is no file that can be read and written"),
    ],
)
def test_doctor_finds_what_run_would_refuse(tmp_path: Path, sections: str, says: str) -> None:
    np.save(tmp_path / "s.npy", np.zeros((2, 16, 512), np.uint16))
    Calibration(window="hann").save(tmp_path / "cal.npz")
    if "[scan]" not in sections:
        sections = '[scan]\nfaces = ["superior"]\n' + sections
    config = tmp_path / "c.toml"
    config.write_text(
        f'site = "t"\nconsole = "c"\n[device]\ndriver = "replay"\naddress = "{tmp_path}/s.npy?synthetic=no"\n'
        + sections.format(cal=tmp_path / "cal.npz")
    )
    said = " ".join(output_of("doctor", "-c", str(config), code=1).split())
    assert says in said


def simulated_config(folder: Path, simulated: dict[str, Any], extra: str = "") -> str:
    path = folder / "c.toml"
    path.write_text(
        f'site = "t"\nconsole = "c"\n[device]\ndriver = "{simulated["console"]}"\n'
        f'address = "{simulated["address"]}"\n{extra}'
    )
    return str(path)


@pytest.mark.parametrize("simulated", ["usb"], indirect=True)
def test_doctor_names_who_holds_the_console_and_how_to_ask_a_daemon(
    tmp_path: Path, simulated: dict[str, Any]
) -> None:
    config = simulated_config(tmp_path, simulated)
    with holding("usb", simulated["address"], "octmargin run for c"):
        said = " ".join(output_of("doctor", "-c", config, code=1).split())
    assert f"the console is held by process {os.getpid()} of " in said
    assert "octmargin doctor -c FILE --live 5" in said
    assert "octmargin simulate" not in said


@pytest.mark.parametrize("simulated", ["usb"], indirect=True)
@pytest.mark.parametrize("section", ["metrics", "display"])
def test_doctor_finds_a_port_that_is_in_use(tmp_path: Path, simulated: dict[str, Any], section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = simulated_config(tmp_path, simulated, f"[{section}]\nport = {port}\n")
        said = " ".join(output_of("doctor", "-c", config, code=1).split())
        assert f"{section}: 127.0.0.1:{port} cannot be listened on" in said
    said = " ".join(output_of("doctor", "-c", config, code=1).split())
    assert f"{section}: 127.0.0.1:{port} is free" in said


@pytest.mark.parametrize("simulated", ["usb"], indirect=True)
@pytest.mark.parametrize(
    "section",
    [
        "[scan]\nline_rate_hz = 1e9",
        "[scan]\nalines = 9999",
        "[engine]\ndepth = 9999",
        '[scan]\nfaces = ["x"]',
    ],
)
def test_doctor_offers_a_simulated_console_only_where_there_is_none(
    tmp_path: Path, simulated: dict[str, Any], section: str
) -> None:
    said = " ".join(output_of("doctor", "-c", simulated_config(tmp_path, simulated, section), code=1).split())
    assert "PROBLEM device" in said
    assert "starts a simulated console" not in said
    nowhere = {"console": "usb", "address": "usbip://127.0.0.1:9"}
    said = " ".join(output_of("doctor", "-c", simulated_config(tmp_path, nowhere), code=1).split())
    assert "`octmargin simulate` starts a simulated console" in said


def test_a_disk_that_is_nearly_full_is_noted(tmp_path: Path) -> None:
    full = space_finding("recording", Path("/proc/none"))  # a file system without any space
    assert (full.level, full.text) == ("note", "/proc/none, only 0 bytes free")
    assert space_finding("recording", tmp_path / "none").level == "ok"


def test_calibrate_finds_from_two_mirrors_what_the_optics_are(tmp_path: Path) -> None:
    optics = ConsoleOptics(samples=1024)
    interferometer = Interferometer(optics)
    rng = np.random.default_rng(1)
    for name, depth_px in (("mirror1", 60.0), ("mirror2", -90.0)):
        spectra = interferometer.mirror(depth_px, alines=64, rng=rng).astype(float).mean(axis=0)
        np.save(tmp_path / f"{name}.npy", spectra - optics.level_counts)
    said = output_of("calibrate", str(tmp_path), "-o", str(tmp_path / "cal.npz"))
    widths = [
        [float(x) for x in re.findall(r"\d+\.\d+", line)]
        for line in said.splitlines()
        if line.startswith("mirror ")
    ]
    for raw, k_map_only, whole in widths:
        assert whole < 2.4
        assert whole < min(raw, k_map_only)
    calibration = Calibration.load(tmp_path / "cal.npz")
    assert calibration.samples == 1024
    assert calibration.quality is not None
    assert f"axial resolution:  {calibration.quality.axial_resolution_px:.2f} px\n" in said
    assert f"dynamic range:     {calibration.quality.dynamic_range_db:.1f} dB" in said
    assert "roll-off:          not measured" in said
    assert "mirrors linear in wavenumber already: no" in said
    with Image.open(tmp_path / "cal.png") as picture:
        assert picture.size[0] > 1000


def test_calibrate_measures_rolloff_and_resolution_in_the_units_that_are_known(tmp_path: Path) -> None:
    optics = ConsoleOptics(samples=1024)
    interferometer = Interferometer(optics)
    rng = np.random.default_rng(1)
    for name, depth_px, loss_db in (
        ("mirror1", 60.0, 0.0),
        ("mirror2", -90.0, 0.0),
        ("mirror-1", 30.0, 0.0),
        ("mirror-2", 80.0, 5.0),
        ("mirror-3", 130.0, 10.0),
    ):
        spectra = interferometer.mirror(depth_px, alines=64, rng=rng).astype(float).mean(axis=0)
        np.save(tmp_path / f"{name}.npy", (spectra - optics.level_counts) * 10 ** (-loss_db / 20))
    np.save(tmp_path / "window.npy", np.hanning(1024))
    said = output_of(
        "calibrate",
        str(tmp_path),
        "-o",
        str(tmp_path / "cal.npz"),
        "--picture",
        str(tmp_path / "other" / "look.png"),
        "--axial-um",
        "4",
        "--window",
        str(tmp_path / "window.npy"),
    )
    calibration = Calibration.load(tmp_path / "cal.npz")
    np.testing.assert_array_equal(calibration.window, np.hanning(1024))
    per_mm, per_px = (
        float(x) for x in re.findall(r"roll-off: +([\d.]+) dB/mm in tissue, ([\d.]+) dB", said)[0]
    )
    assert per_mm == pytest.approx(1000 * per_px / 4, rel=0.01)
    # 0.1 dB per depth pixel was put in; the simulated optics lose a little of their own.
    assert per_px == pytest.approx(0.1, rel=0.05)
    assert "µm in tissue" in said
    assert (tmp_path / "other" / "look.png").is_file()
    assert not (tmp_path / "cal.png").exists()


@pytest.mark.real_data
def test_calibrate_tells_that_a_real_sample_needs_the_k_map(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "py-oct-calibration"
    said = output_of(
        "calibrate", str(folder), "-o", str(tmp_path / "cal.npz"), "--sample", str(folder / "cscan.npy")
    )
    assert "cscan.npy linear in wavenumber already: no" in said


@pytest.mark.real_data
def test_calibrate_reaches_the_widths_of_the_real_mirrors(tmp_path: Path, real_data: Path) -> None:
    said = output_of("calibrate", str(real_data / "py-oct-calibration"), "-o", str(tmp_path / "cal.npz"))
    widths = [
        [float(x) for x in re.findall(r"\d+\.\d+", line)]
        for line in said.splitlines()
        if line.startswith("mirror ")
    ]
    # As that data's own notes give them: raw, with k-map, with k-map and dispersion.
    np.testing.assert_allclose(widths, [[7.41, 2.44, 2.25], [14.97, 2.41, 2.22]], rtol=0.04)


@pytest.mark.real_data
def test_reconstruct_writes_pictures_of_the_real_sample(tmp_path: Path, real_data: Path) -> None:
    source = real_data / "py-oct-calibration" / "cscan.npy"
    output_of("reconstruct", str(source), "-o", str(tmp_path), "--every", "48", "--depth", "300")
    with Image.open(tmp_path / "bscan-0048.png") as picture:
        rows = np.asarray(picture.convert("L"), float)[:, 200:800].mean(axis=1)
    assert rows[80:130].mean() > 2 * rows[15:40].mean(), "bright tissue below dark air"
    assert (tmp_path / "enface.png").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["reconstruct", "s.npy", "--depth", "0"],
        ["reconstruct", "s.npy", "--samples", "0"],
        ["reconstruct", "s.npy", "--alines", "-1"],
        ["assess", "s.npy", "--bits", "0"],
        ["assess", "s.npy", "--samples", "0"],
        ["assess", "s.npy", "--alines", "0"],
        ["calibrate", "mirrors", "--axial-um", "0"],
        ["simulate", "--width-mm", "0"],
        ["simulate", "--height-mm", "-2"],
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_its_option(options: list[str]) -> None:
    done = subprocess.run([*OCTMARGIN, *options], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert f"Invalid value for '{options[-2]}'" in done.stderr


def test_more_depth_than_there_is_is_refused_by_its_option(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((2, 16, 512), np.uint16))
    Calibration(window="hann").save(tmp_path / "cal.npz")
    options = ["reconstruct", str(tmp_path / "s.npy"), "--calibration", str(tmp_path / "cal.npz")]
    done = subprocess.run(
        [*OCTMARGIN, *options, "--depth", "257"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2
    assert "--depth 257: spectra of 512 samples have 256 depth pixels" in done.stderr


def test_watch_without_a_broker_is_one_line() -> None:
    done = subprocess.run(
        [*OCTMARGIN, "watch", "--port", "9"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2
    assert "no MQTT broker at 127.0.0.1:9" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "9"], "start one or set --host and --port"),
        (["--password-file", "/none"], "--password-file is set but --username is not"),
        (["--username", "or", "--password-file", "/none"], "--password-file '/none' cannot be read"),
        (["--ca-file", "/none"], "--ca-file, --cert-file and --key-file: '/none' cannot be used"),
    ],
)
def test_watch_names_its_options_and_no_keys_of_a_configuration(options: list[str], says: str) -> None:
    done = subprocess.run(
        [*OCTMARGIN, "watch", *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "broker." not in done.stderr


def test_watch_shows_that_nobody_publishes() -> None:
    with EmbeddedBroker() as broker:
        said = output_of("watch", "--port", str(broker.port), "--seconds", "1")
    assert "nobody publishes for this console" in said


def test_a_command_loads_nothing_of_those_that_other_packages_bring() -> None:
    script = (
        "import sys; from octmargin.cli import run_command_line\n"
        "try: run_command_line()\n"
        "finally: print('octmargin_simulator' in sys.modules)"
    )
    for command, loads in (("command", "False"), ("simulate", "True")):
        done = subprocess.run(
            [sys.executable, "-c", script, command, "--help"],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        assert done.stdout.split()[-1] == loads


@pytest.mark.parametrize(
    "command",
    ["demo", "run", "watch", "devices", "calibrate", "reconstruct", "assess", "doctor", "simulate"],
)
def test_every_command_explains_itself(command: str) -> None:
    assert "Usage" in output_of(command, "--help")


@pytest.mark.parametrize(
    "options",
    [
        ["--source", "lumpectomy"],
        ["--record", "{folder}/case"],
        ["--source", "node", "--record", "{folder}/case"],
    ],
)
def test_simulate_ends_at_once_where_it_is_interrupted_while_it_renders(
    tmp_path: Path, options: list[str]
) -> None:
    options = [option.format(folder=tmp_path) for option in options]
    command = [*OCTMARGIN, "simulate", "--json", "--port", "0", "--frames", "400", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        assert (first["event"], first["done"]) == ("rendering", 1)
        # Else it stands still where nobody reads what it tells.
        reading = threading.Thread(target=process.stdout.read)
        reading.start()
        process.send_signal(signal.SIGINT)
        try:
            # To render them all takes minutes.
            assert process.wait(20) == 130
        finally:
            process.kill()
            reading.join()
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["zarr.json", "log.jsonl", "c/1/0/0.partial"])
def test_a_recording_that_is_interrupted_leaves_nothing(tmp_path: Path, file: str) -> None:
    """Interrupted just before a file of it is opened: at its beginning, and among its frames."""
    interrupted = f"""
import signal, sys
from octmargin.__main__ import main
todo = [True]
def opened(event, arguments):
    if event == "open" and ".case.new/" in str(arguments[0]) and {file!r} in str(arguments[0]) and todo:
        todo.clear()
        signal.raise_signal(signal.SIGINT)
sys.addaudithook(opened)
sys.argv = ["octmargin", "simulate", "--record", {str(tmp_path / "case")!r}, *{SMALL!r}]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupted], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert list(tmp_path.iterdir()) == []
