"""`octmargin simulate`: a simulated console as a process of its own, or what it looks at as a recording."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from octmargin.archive import check_is_new, write_recording
from octmargin.errors import DeviceBusyError, InputError
from octmargin_simulator.archived import ArchivedSource
from octmargin_simulator.console import Console
from octmargin_simulator.faults import FaultyConsole, read_script
from octmargin_simulator.personality import Personality, read_personality
from octmargin_simulator.phantom import LayeredPhantom
from octmargin_simulator.recorded import RecordedSource
from octmargin_simulator.rendered import Progress
from octmargin_simulator.serial_port import SerialConsole
from octmargin_simulator.source import FrameSource
from octmargin_simulator.tissue import Sort, TissueScan
from octmargin_simulator.tissue.gallery import draw_gallery
from octmargin_simulator.tissue.scene import read_scene
from octmargin_simulator.usb_device import UsbConsole

_DRAWN = {"phantom", *Sort}
"""Sources that are drawn from a seed."""


class WireKind(StrEnum):
    """The wires a console can be served over."""

    USB = "usb"
    SERIAL = "serial"


def simulate(
    console: Annotated[
        WireKind, typer.Option(help="The wire: a USB device over USB/IP, or a serial port.")
    ] = WireKind.USB,
    source: Annotated[
        str,
        typer.Option(
            help='What it looks at: "phantom", a simulated "lumpectomy", "shave" or "node", '
            "a recording (a folder), or a file of spectra (.npy, .bin, .h5)."
        ),
    ] = "phantom",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the phantom or specimen.")] = 7,
    samples: Annotated[
        int | None, typer.Option(min=64, max=65536, help="Samples per spectrum (not of a file that tells).")
    ] = None,
    alines: Annotated[
        int | None, typer.Option(min=1, max=65536, help="A-lines per frame (not of a file that tells).")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, max=65536, help="Frames per sweep (not of a file).")
    ] = None,
    width_mm: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Width of the scanned field.")
    ] = None,
    height_mm: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Height of the scanned field.")
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The file's spectra were computed, not measured.")
    ] = False,
    face: Annotated[str, typer.Option(help="The face that a file of spectra shows.")] = "superior",
    host: Annotated[str, typer.Option(help="Address on which the USB device is served.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the USB device; 0 takes any free one.")
    ] = 3240,
    baud: Annotated[int, typer.Option(min=1, help="Pace of the serial line, bit/s.")] = 12_000_000,
    serial_number: Annotated[
        str | None, typer.Option(help="Serial number that the console reports [default: SIM-0001].")
    ] = None,
    personality: Annotated[
        str | None,
        typer.Option(
            help='What kind of console it is: "old", "slow", "fast", or a TOML file (docs/faults.md).'
        ),
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(help="Script of what goes wrong, a TOML file (docs/faults.md)."),
    ] = None,
    scene: Annotated[
        Path | None,
        typer.Option(
            help="What the faces of a simulated specimen carry, a TOML file (docs/tissue.md); else the seed decides."
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Write what it looks at into this new folder, as a recording for `octmargin assess`, and stop."
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            help="Draw a contact sheet of every simulated tissue and artefact to this PNG, and stop."
        ),
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print state as JSON lines, for other programs.")
    ] = False,
    stop_on_eof: Annotated[
        bool, typer.Option(hidden=True, help="Stop when standard input is closed.")
    ] = False,
) -> None:
    """Serve a simulated OCT console until Ctrl-C, or record what it would send."""
    reporter = _Reporter(as_json=json_lines)
    if gallery is not None:
        _draw_gallery(gallery, seed, reporter)
        return
    script = read_script(faults) if faults is not None else None
    if scene is not None and source not in set(Sort):
        raise InputError(f"--scene {scene}: is for --source {', '.join(Sort)}; leave it out")
    if record is not None:
        check_is_new(record)
    sizes = {
        "samples": samples,
        "alines": alines,
        "frames": frames,
        "width_mm": width_mm,
        "height_mm": height_mm,
    }
    given = {name: value for name, value in sizes.items() if value is not None}
    looked_at: ArchivedSource | RecordedSource | LayeredPhantom | TissueScan
    if Path(source).is_dir() and source not in _DRAWN:
        looked_at = _archived(Path(source), given, synthetic=synthetic)
    elif source not in _DRAWN:
        looked_at = RecordedSource(Path(source), face=face, synthetic=synthetic, **given)  # type: ignore[arg-type]
    else:
        looked_at = _drawn(source, seed, scene, reporter.progress, given)
    if record is not None:
        if isinstance(looked_at, ArchivedSource):
            raise InputError(f"--record {record}: {source} is a recording already; copy the folder")
        write_recording(record, looked_at)
        reporter.recorded(record, looked_at)
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if stop_on_eof:
        threading.Thread(target=_wait_for_eof, args=(stop,), daemon=True).start()
    who = read_personality(personality) if personality is not None else Personality()
    if serial_number is not None:
        who = msgspec.structs.replace(who, serial=serial_number)
    model = Console(looked_at, who) if script is None else FaultyConsole(looked_at, script, who)
    served = _serve(model, console, host=host, port=port, baud=baud)
    if isinstance(model, FaultyConsole):
        model.plug_into(served)
    signal.signal(signal.SIGUSR1, lambda *_: model.press_pedal())
    reporter.ready(console, served.address, looked_at)
    stop.wait()
    served.close()
    model.close()
    reporter.ended(model)


def _drawn(
    source: str, seed: int, scene: Path | None, progress: Progress, given: Mapping[str, Any]
) -> LayeredPhantom | TissueScan:
    if source == "phantom":
        return LayeredPhantom(seed=seed, progress=progress, **given)
    scenarios = read_scene(scene) if scene is not None else None
    return TissueScan(seed, sort=Sort(source), scenarios=scenarios, progress=progress, **given)


def _archived(path: Path, given: Mapping[str, float], *, synthetic: bool) -> ArchivedSource:
    told = [f"--{name.replace('_', '-')}" for name in given] + ["--synthetic"] * synthetic
    if told:
        raise InputError(f"{path}: is a recording and tells this itself; leave out {', '.join(told)}")
    return ArchivedSource(path)


def _draw_gallery(path: Path, seed: int, reporter: _Reporter) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(f"--gallery {path}: the sheet is a PNG; name a file that ends in .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        draw_gallery(path, seed, reporter.progress)
    except OSError as error:
        raise InputError(
            f"--gallery {path}: cannot be written: {error.strerror}; name another file"
        ) from error
    typer.echo(f"{path}: every simulated tissue and artefact, B-scan and truth (SYNTHETIC)")


def _wait_for_eof(stop: threading.Event) -> None:
    # Not sys.stdin: a thread that waits in it at exit holds a lock that the interpreter wants.
    while os.read(0, 4096):
        pass
    stop.set()


def _serve(model: Console, wire: WireKind, *, host: str, port: int, baud: int) -> UsbConsole | SerialConsole:
    if wire is WireKind.SERIAL:
        return SerialConsole(model, baud=baud)
    try:
        return UsbConsole(model, host=host, port=port)
    except OSError as error:
        raise DeviceBusyError(
            f"port {port} on {host} cannot be served: {error.strerror}; "
            "stop what uses it, or give another --host or --port"
        ) from error


class _Reporter:
    """Says what goes on, to people or to programs."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def progress(self, done: int, total: int) -> None:
        if self._as_json:
            self._line({"event": "rendering", "done": done, "total": total})
        elif sys.stderr.isatty():
            end = "\n" if done == total else "\r"
            print(f"rendering: {done} of {total} frames", end=end, file=sys.stderr, flush=True)  # noqa: T201

    def ready(self, wire: WireKind, address: str, source: FrameSource) -> None:
        if self._as_json:
            self._line(
                {
                    "event": "ready",
                    "console": wire.value,
                    "address": address,
                    "source": source.name,
                    "synthetic": source.synthetic,
                    "faces": source.faces,
                    "samples": source.samples,
                    "alines": source.alines,
                    "frames": source.frames,
                    "truth": dict(source.truth),
                }
            )
            return
        kind = "synthetic" if source.synthetic else "measured"
        typer.echo(f"simulated console ready: {source.name} ({kind} spectra)")
        typer.echo(f"  {source.samples} samples, {source.alines} A-lines, {source.frames} frames per sweep")
        typer.echo(f"  faces: {', '.join(source.faces)}")
        typer.echo(f'  [device]\n  driver = "{wire.value}"\n  address = "{address}"')
        typer.echo("Ctrl-C stops it")

    def recorded(self, path: Path, source: FrameSource) -> None:
        if self._as_json:
            self._line(
                {
                    "event": "recorded",
                    "path": str(path),
                    "source": source.name,
                    "synthetic": source.synthetic,
                    "faces": source.faces,
                    "truth": dict(source.truth),
                }
            )
            return
        kind = "synthetic" if source.synthetic else "measured"
        typer.echo(f"{path}: recording of {source.name} ({kind} spectra)")
        typer.echo(
            f"  faces: {', '.join(source.faces)}; {source.frames} frames of {source.alines} A-lines each"
        )

    def ended(self, model: Console) -> None:
        status = model.status
        if self._as_json:
            self._line(
                {
                    "event": "ended",
                    "frames_numbered": model.frames_ever_numbered,
                    "frames_dropped": status.frames_dropped,
                    "sweeps": status.sweep,
                    "faults": model.happened if isinstance(model, FaultyConsole) else {},
                    "never_known": model.never_known if isinstance(model, FaultyConsole) else 0,
                }
            )
        else:
            typer.echo(
                f"stopped: {status.sweep} sweeps, {model.frames_ever_numbered} frames, {status.frames_dropped} dropped"
            )
            if isinstance(model, FaultyConsole):
                happened = ", ".join(f"{count} {kind}" for kind, count in sorted(model.happened.items()))
                typer.echo(f"  faults that happened: {happened or 'none'}")

    @staticmethod
    def _line(fields: dict[str, Any]) -> None:
        sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")
        sys.stdout.flush()
