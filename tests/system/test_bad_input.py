"""Whatever is wrong, the answer is one line that names it and says what to do; no traceback."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.ports import free_port

from octmargin.bus import EmbeddedBroker
from octmargin.margin.model_file import read_model
from octmargin_simulator.console import Console
from octmargin_simulator.phantom import LayeredPhantom
from octmargin_simulator.serial_port import SerialConsole
from octmargin_simulator.usb_device import UsbConsole

OCTMARGIN = [sys.executable, "-m", "octmargin"]
SUSPICIOUS_AT = read_model("margin-1").operating_point.suspicious_at


def complaint_of(*arguments: str, cwd: Path | None = None, is_alone: bool = False) -> str:
    """The one line on standard error with which the command refuses, after its log; without any where it `is_alone`."""
    done = subprocess.run(
        [*OCTMARGIN, *arguments], capture_output=True, text=True, timeout=300, check=False, cwd=cwd
    )
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.startswith("octmargin: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.rstrip().splitlines()[-1] == lines[0], "the complaint comes last"
    assert "Traceback" not in done.stderr
    if is_alone:
        assert done.stderr == f"{lines[0]}\n"
    return lines[0]


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=512, alines=32, frames=4, faces=("superior",), tumour_faces=())


def config_file(folder: Path, *, broker_port: int, driver: str, address: str, extra: str = "") -> str:
    path = folder / "c.toml"
    path.write_text(
        f'site = "t"\nconsole = "c"\n[device]\ndriver = "{driver}"\naddress = "{address}"\n'
        f"[broker]\nport = {broker_port}\n{extra}"
    )
    return str(path)


def test_no_configuration_file(tmp_path: Path) -> None:
    assert "nowhere.toml: no such file" in complaint_of("run", "-c", str(tmp_path / "nowhere.toml"))


def test_unknown_key(tmp_path: Path) -> None:
    path = config_file(tmp_path, broker_port=1, driver="usb", address="x", extra="[scan]\nfacess = []\n")
    assert 'c.toml: unknown key "scan.facess"; did you mean "faces"?' in complaint_of("run", "-c", path)


def test_wrong_type(tmp_path: Path) -> None:
    path = config_file(tmp_path, broker_port=1, driver="usb", address="x", extra='[engine]\ndepth = "deep"\n')
    assert 'key "engine.depth" is "deep"; give a whole number of at least 1' in complaint_of(
        "run", "-c", path
    )


def test_no_broker(tmp_path: Path) -> None:
    port = free_port()
    path = config_file(tmp_path, broker_port=port, driver="usb", address="usbip://127.0.0.1:9")
    said = complaint_of("run", "-c", path)
    assert f"no MQTT broker at 127.0.0.1:{port}" in said
    assert "start one or set broker.host/broker.port" in said


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ('[calibration]\nfile = "none.npz"', "none.npz"),
        ('[model]\nname = "margin-0"', "model 'margin-0' does not exist"),
        ("[policy]\nsuspicious_at = 0.1\ndoubtful_at = 0.5", "doubtful_at is 0.5, above suspicious_at, 0.1"),
        (
            "[policy]\ndoubtful_at = 0.9",
            f"doubtful_at is 0.9, above suspicious_at, {SUSPICIOUS_AT:g}; lower it",
        ),
    ],
)
def test_what_the_configuration_names_is_looked_for_before_anything_is_connected(
    tmp_path: Path, extra: str, says: str
) -> None:
    path = config_file(
        tmp_path, broker_port=free_port(), driver="usb", address="usbip://127.0.0.1:9", extra=extra
    )
    assert says in complaint_of("run", "-c", path)


@pytest.mark.parametrize(
    ("driver", "address", "says", "remedy"),
    [
        ("usb", "usbip://127.0.0.1:{port}", "no console there", "octmargin simulate"),
        ("serial", "/dev/tty-not-there", "no such port", "octmargin devices"),
        ("replay", "/not/there.npy?synthetic=no", "no such file", "give the path"),
        ("usb", "usb:12", "is not understood", "usb:VID:PID"),
        ("serial", "/dev/ttyS0?speed=3", "is not understood", "?baud="),
        ("floppy", "a:", 'driver "floppy" is not installed', "installed: replay, serial, usb"),
    ],
)
def test_no_device(
    tmp_path: Path, broker: EmbeddedBroker, driver: str, address: str, says: str, remedy: str
) -> None:
    address = address.format(port=free_port())
    path = config_file(tmp_path, broker_port=broker.port, driver=driver, address=address)
    said = complaint_of("run", "-c", path, is_alone=True)
    assert says in said
    assert remedy in said


@pytest.mark.parametrize("section", ["display", "metrics"])
def test_a_port_in_use_is_all_that_is_said(tmp_path: Path, broker: EmbeddedBroker, section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"display": 0, "metrics": 0} | {section: port}
        path = config_file(
            tmp_path,
            broker_port=broker.port,
            driver="usb",
            address="usbip://127.0.0.1:9",
            extra="".join(f"[{name}]\nport = {each}\n" for name, each in ports.items()),
        )
        said = complaint_of("run", "-c", path, is_alone=True)
    remedy = f"set {section}.host and {section}.port"
    assert said.startswith(f"octmargin: {section}: 127.0.0.1:{port} cannot be listened on")
    assert "Address already in use" in said
    assert said.count(str(port)) == 1
    assert said.endswith(remedy)


@pytest.mark.parametrize(
    ("driver", "address", "says"),
    [
        ("usb", "x", 'USB address "x" is not understood; write usb:VID:PID'),
        ("usb", "usbip://[", 'USB address "usbip://["'),
        ("serial", "/dev/ttyS0?speed=3", '"speed" is not understood'),
        ("serial", "socket://host", "write socket://HOST:PORT"),
        ("replay", "s.npy", "synthetic=yes or synthetic=no"),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_connected(
    tmp_path: Path, driver: str, address: str, says: str
) -> None:
    path = config_file(tmp_path, broker_port=free_port(), driver=driver, address=address)
    assert says in complaint_of("run", "-c", path)


@pytest.mark.parametrize(
    ("scan", "says"),
    [
        ('faces = ["superiour"]', 'the console has no face "superiour"; it offers superior'),
        (
            "faces = ['superior']\n[engine]\ndepth = 257",
            "engine.depth is 257, but spectra of 512 samples have 256 depth pixels; lower it",
        ),
        ("faces = ['superior']\nframes = 99", "scan.frames is 99, but the console offers at most 4"),
        ("faces = ['superior']\nline_rate_hz = 1e9", "scan.line_rate_hz is 1e+09, but the console offers"),
    ],
)
def test_a_scan_that_the_console_cannot_do(
    tmp_path: Path, broker: EmbeddedBroker, phantom: LayeredPhantom, scan: str, says: str
) -> None:
    console = Console(phantom)
    served = UsbConsole(console)
    try:
        extra = f"[scan]\n{scan}\n"
        path = config_file(
            tmp_path, broker_port=broker.port, driver="usb", address=served.address, extra=extra
        )
        assert says in complaint_of("run", "-c", path)
    finally:
        served.close()
        console.close()


@pytest.mark.parametrize(
    ("section", "key"), [("recording", "folder"), ("pictures", "folder"), ("display", "photo_folder")]
)
@pytest.mark.parametrize("folder", ["/proc/rec", "{file}", "{file}/below", "{link}"])
def test_a_folder_for_recordings_or_pictures_that_cannot_be_written(
    tmp_path: Path, section: str, key: str, folder: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    folder = folder.format(file=tmp_path / "file", link=tmp_path / "link")
    path = config_file(
        tmp_path,
        broker_port=free_port(),
        driver="replay",
        address=f"{tmp_path}/never-opened.npy?synthetic=no",
        extra=f'[{section}]\n{key} = "{folder}"\n',
    )
    said = complaint_of("run", "-c", path)
    assert f"{section}.{key}: {folder} is no folder that can be written" in said
    assert "name another one" in said


@pytest.mark.parametrize("wire", ["usb", "serial"])
def test_device_busy(tmp_path: Path, broker: EmbeddedBroker, phantom: LayeredPhantom, wire: str) -> None:
    console = Console(phantom)
    served: UsbConsole | SerialConsole = UsbConsole(console) if wire == "usb" else SerialConsole(console)
    driver_class = pytest.importorskip(f"octmargin_drivers.{wire}")
    first = {"usb": "UsbDriver", "serial": "SerialDriver"}[wire]

    async def complaint_while_open() -> str:
        driver = getattr(driver_class, first)(served.address)
        await driver.open()
        try:
            path = config_file(tmp_path, broker_port=broker.port, driver=wire, address=served.address)
            return await asyncio.to_thread(complaint_of, "run", "-c", path)
        finally:
            await driver.close()

    try:
        assert "in use by another program; stop it" in asyncio.run(complaint_while_open())
    finally:
        served.close()
        console.close()


def test_wrong_shape_of_spectra(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros(100, np.uint16))
    said = complaint_of("simulate", "--source", str(tmp_path / "flat.npy"), "--port", "0")
    assert "flat.npy" in said
    assert "(100,)" in said


def test_a_truncated_recording(tmp_path: Path) -> None:
    path = tmp_path / "cut.npy"
    np.save(path, np.zeros((4, 8, 64), np.uint16))
    path.write_bytes(path.read_bytes()[:-100])
    said = complaint_of("simulate", "--source", str(path), "--port", "0")
    assert "cut.npy" in said
    assert "100 bytes" in said or "truncated" in said


def test_a_bin_file_needs_its_shape(tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(bytes(1000))
    said = complaint_of("reconstruct", str(tmp_path / "raw.bin"))
    assert "samples" in said


def test_a_demo_of_a_missing_file() -> None:
    assert "nothing.npy: no such file" in complaint_of("demo", "--headless", "--source", "nothing.npy")


def test_a_demo_of_a_file_without_calibration(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.random.default_rng(0).integers(0, 4000, (4, 16, 512)).astype(np.uint16))
    said = complaint_of("demo", "--headless", "--source", str(tmp_path / "c.npy"))
    assert "mirror1.npy" in said
    assert "--calibration FILE" in said


def test_a_calibration_from_an_empty_folder(tmp_path: Path) -> None:
    assert "mirror1.npy, mirror2.npy missing" in complaint_of("calibrate", str(tmp_path))


def test_a_calibration_with_a_window_that_does_not_exist(tmp_path: Path) -> None:
    fringes = [np.cos(2 * np.pi * depth * np.arange(1024) / 1024) for depth in (70, 110)]
    for name, fringe in zip(("mirror1", "mirror2"), fringes, strict=True):
        np.save(tmp_path / f"{name}.npy", fringe + np.random.default_rng(0).normal(0, 0.01, 1024))
    missing = str(tmp_path / "window.npy")
    assert "window.npy: not a readable .npy" in complaint_of("calibrate", str(tmp_path), "--window", missing)
    for name in ("round", "kaiser"):
        said = complaint_of("calibrate", str(tmp_path), "--window", name)
        assert (
            f"window '{name}' cannot be made; name one of scipy.signal.windows that needs no parameter"
            in said
        )
    np.save(missing, np.ones(7))
    assert "window 7" in complaint_of("calibrate", str(tmp_path), "--window", missing)
    same = str(tmp_path / "cal.png")
    assert "name them apart" in complaint_of("calibrate", str(tmp_path), "-o", same)
    assert "is a folder; name a file in it" in complaint_of("calibrate", str(tmp_path), "-o", str(tmp_path))
    assert "is a folder; name a file in it" in complaint_of("calibrate", str(tmp_path), "-o", ".")
    nowhere = str(tmp_path / "nowhere" / "cal.npz")
    assert "there is no folder" in complaint_of("calibrate", str(tmp_path), "-o", nowhere)
    (tmp_path / "mirror1.npy").write_bytes(b"PK\x03\x04 not a zip")
    assert "mirror1.npy: not a readable .npy file" in complaint_of("calibrate", str(tmp_path))


def test_a_port_that_is_taken(phantom: LayeredPhantom, tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.zeros((2, 16, 512), np.uint16))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint_of("simulate", "--source", str(tmp_path / "c.npy"), "--port", str(port))
    assert f"port {port}" in said
    assert "another --host or --port" in said


def test_a_terminal_full_of_noise_is_no_console(tmp_path: Path, broker: EmbeddedBroker) -> None:
    """Garbage on the serial port at the start: told in a line that it is no console."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.write(master, np.random.default_rng(3).bytes(3000))
    try:
        path = config_file(tmp_path, broker_port=broker.port, driver="serial", address=os.ttyname(slave))
        said = complaint_of("run", "-c", path)
    finally:
        os.close(master)
        os.close(slave)
    assert "no answer" in said
    assert "is this an OCT console" in said


def test_garbage_on_the_line_never_ends_the_daemon(
    tmp_path: Path, broker: EmbeddedBroker, phantom: LayeredPhantom
) -> None:
    """Noise between good packets: the daemon goes on, and all passes are scanned."""
    console = Console(phantom)
    served = SerialConsole(console, baud=4_000_000)
    noise = np.random.default_rng(4)
    extra = '[scan]\nfaces = ["superior"]\npasses = 4\nline_rate_hz = 200.0\n[engine]\ndepth = 160\n'
    path = config_file(
        tmp_path, broker_port=broker.port, driver="serial", address=served.address, extra=extra
    )
    log = ""
    with subprocess.Popen([*OCTMARGIN, "run", "-c", path], stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            for line in daemon.stderr:
                log += line
                if "ready" in line or "face scanned" in line:
                    served.babble(noise.bytes(500))
            assert daemon.wait(30) == 0, log
        finally:
            daemon.kill()
            served.close()
            console.close()
    assert "Traceback" not in log
    assert log.count("face scanned") == 4
    assert "trouble on the link" in log
