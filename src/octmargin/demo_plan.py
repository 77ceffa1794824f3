"""What the demonstration is asked to do, and what it tells its processes: options of the simulator, a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from octmargin import demo_scene
from octmargin.bus import BrokerSettings
from octmargin.demo_case import CASE_ID, RECORD, RECORDINGS
from octmargin.display import DisplaySection
from octmargin.errors import CalibrationError, InputError
from octmargin.frames import FACES
from octmargin.mirrors import calibration_beside
from octmargin.spectra import SpectraFile

SITE, CONSOLE = "demo", "simulator"
SPECIMEN_ID = "demo-1"
NOMINAL_AXIAL_UM = 5.0
FILE_LINE_RATE_HZ = 10_000.0
"""Files bring no rate of their own; small frames at this rate are judged without haste."""
STAGED = "lumpectomy"
"""The source that is staged, where no seed is asked for: see `octmargin.demo_scene`."""
_WATCHED_LINE_RATE_HZ = 5_000.0
"""Ten frames a second: slow enough to watch a map fill."""
_PERSONALITY = {"fifo_frames": 64, "heartbeat_timeout_ms": 60_000}
"""A face waits in the console where the computer is busy with something else: what is lost is what is staged."""
SIMULATED = (STAGED, "shave", "node", "phantom")
"""Sources that the simulator draws from a seed; anything else is a file."""
_SEED = 7
_ORIENTATION = {
    "ink": {
        "superior": "red",
        "inferior": "blue",
        "medial": "green",
        "lateral": "orange",
        "anterior": "yellow",
        "posterior": "black",
    },
    "sutures": "short superior, long lateral",
}


class WireKind(Enum):
    """How the simulated console is connected."""

    USB = "usb"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True)
class _Pace:
    """Scan geometry that suits a wire: `simulate` options of what is drawn, A-lines per second, frames per sweep."""

    options: tuple[str, ...]
    line_rate_hz: float
    frames: int


_PACES = {
    WireKind.USB: _Pace(("--frames", "40"), 25_000.0, 40),
    # 12 Mbit/s carry about 580 spectra of 1024 samples in a second. A-lines as far apart as on USB: margin-1 was
    # validated for that distance.
    WireKind.SERIAL: _Pace(
        ("--samples", "1024", "--alines", "128", "--frames", "12", "--width-mm", "2.0", "--height-mm", "2.4"),
        540.0,
        12,
    ),
}


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demonstration is asked to do; see `octmargin demo --help`."""

    wire: WireKind
    source: str = STAGED
    seed: int | None = None
    calibration: Path | None = None
    axial_um: float | None = None
    headless: bool = False
    seconds: float | None = None
    passes: int = 0
    pictures: Path | None = None

    @property
    def is_simulated(self) -> bool:
        """Whether the simulator draws what is scanned; else it is a file of spectra."""
        return self.source in SIMULATED

    @property
    def is_on_command(self) -> bool:
        """Whether it scans once, as somebody at the display would have it do, and then waits for people there."""
        return not self.headless and not self.passes and self.is_simulated

    @property
    def is_recording(self) -> bool:
        """Whether recordings are kept: a quarter of a gigabyte a pass would fill the disk where passes have no end."""
        return self.is_on_command or self.passes == 1

    @property
    def kept(self) -> str:
        """What stays in its folder, in words."""
        if self.is_recording:
            return "record, recordings and log"
        return "record and log, no recordings (one pass is recorded: --passes 1)"

    @property
    def has_nominal_scale(self) -> bool:
        """Whether nobody said how deep a pixel is, so that a nominal one is taken."""
        return not self.is_simulated and self.axial_um is None


def simulate_options(plan: DemoPlan, folder: Path) -> list[str]:
    """Options of `octmargin simulate`; files that they name are written into `folder`."""
    options = ["--console", plan.wire.value, "--source", plan.source, "--port", "0"]
    pace = _PACES[plan.wire]
    if plan.source == STAGED and plan.seed is None:
        options += ["--seed", str(demo_scene.SEED), *pace.options]
        options += demo_scene.write(folder, FACES, pace.frames)
    elif plan.is_simulated:
        options += ["--seed", str(_SEED if plan.seed is None else plan.seed), *pace.options]
    elif not Path(plan.source).exists():
        raise InputError(f"--source {plan.source}: no such file; or one of {', '.join(SIMULATED)}")
    personality = folder / "personality.toml"
    personality.write_bytes(msgspec.toml.encode(_PERSONALITY))
    return [*options, "--personality", str(personality)]


def write_config(
    plan: DemoPlan,
    folder: Path,
    ready: dict[str, Any],
    broker: BrokerSettings,
    display_port: int,
    calibration: dict[str, Any],
) -> Path:
    """The daemon's configuration file, for a simulator that says that it is `ready`."""
    line_rate_hz = _PACES[plan.wire].line_rate_hz
    if plan.is_on_command:
        line_rate_hz = min(line_rate_hz, _WATCHED_LINE_RATE_HZ)
    if not plan.is_simulated:
        line_rate_hz = min(line_rate_hz, FILE_LINE_RATE_HZ)
    config: dict[str, Any] = {
        "site": SITE,
        "console": CONSOLE,
        "device": {"driver": plan.wire.value, "address": ready["address"]},
        "broker": {"host": broker.host, "port": broker.port, "retained_expiry": False},
        "scan": {
            "faces": ready["faces"],
            "line_rate_hz": line_rate_hz,
            "passes": plan.passes,
            "begin": "on-command" if plan.is_on_command else "at-once",
        },
        "case": {"case_id": CASE_ID, "specimen_id": SPECIMEN_ID, **_said_of_specimen(plan)},
        "record": {"file": str(folder / RECORD), "signers": [VISITOR], "sign_without_login": True},
        "orientation": _ORIENTATION,
        "display": {"port": display_port},
    }
    if calibration:
        config["calibration"] = calibration
    if plan.is_recording:
        config["recording"] = {"folder": str(folder / RECORDINGS)}
    if plan.source == "phantom":
        # Its layers are what rule-1 was set on; margin-1 has never seen the like.
        config["model"] = {"name": "rule-1"}
    if plan.pictures is not None:
        config["pictures"] = {"folder": str(plan.pictures)}
    path = folder / "demo.toml"
    path.write_bytes(msgspec.toml.encode(config))
    return path


VISITOR = {
    "name": "Visitor (of the demonstration, SYNTHETIC)",
    "role": "surgeon",
    "user": DisplaySection().user,
}
"""Who interprets and signs at the demonstration's display, where somebody does."""
SPECIMEN = {
    "laterality": "left",
    "orientation": "short suture superior, long suture lateral",
    "label": "simulated",
}
"""What is said of a simulated specimen, wherever it is said."""


def kind_of(plan: DemoPlan) -> str:
    """What kind of specimen a simulated source shows."""
    return STAGED if plan.source == "phantom" else plan.source


def _said_of_specimen(plan: DemoPlan) -> dict[str, str]:
    return {"kind": kind_of(plan), **SPECIMEN} if plan.is_simulated else {}


def file_calibration(plan: DemoPlan, folder: Path) -> dict[str, Any]:
    """The `[calibration]` of a file of spectra, which brings none: the given one, or the mirrors that lie beside it."""
    source, path = Path(plan.source), plan.calibration
    if path is None:
        try:
            with SpectraFile.open(source) as spectra:
                calibration = calibration_beside(spectra)
        except CalibrationError as error:
            raise CalibrationError(f"{error}; or give --calibration FILE") from error
        path = folder / "calibration.npz"
        calibration.save(path)
    return {"file": str(path), "axial_um": NOMINAL_AXIAL_UM if plan.axial_um is None else plan.axial_um}
