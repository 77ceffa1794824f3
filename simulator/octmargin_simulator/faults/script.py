"""Fault scripts: what goes wrong, and when, as a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from octmargin.errors import ConfigError

Seconds = Annotated[float, Meta(gt=0, le=3600)]
Place = Annotated[int, Meta(ge=0)]
Ordinal = Annotated[int, Meta(ge=1)]
Part = Literal["leader", "spectra", "trailer"]


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One thing that goes wrong.

    At the places `frames` of each sweep, or of the console's sweeps `sweeps` (the first is 1), or of those over
    `faces`; or, with `chance`, at any frame of them with that probability.
    """

    frames: tuple[Place, ...] = ()
    chance: Annotated[float, Meta(ge=0, le=1)] = 0.0
    sweeps: tuple[Ordinal, ...] = ()
    faces: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The word for it in a script."""
        return str(self.__struct_config__.tag)


# -- frames on their way ------------------------------------------------------------------------------


class Drop(Fault, frozen=True, kw_only=True, tag="drop"):
    """The console's FIFO is full: it drops the frame, and counts it."""


class Vanish(Fault, frozen=True, kw_only=True, tag="vanish"):
    """The frame is sent and arrives nowhere; nobody counts it."""


class Corrupt(Fault, frozen=True, kw_only=True, tag="corrupt"):
    """A bit of one part flips on the wire."""

    part: Part = "spectra"


class WrongCrc(Fault, frozen=True, kw_only=True, tag="wrong_crc"):
    """The console computes a wrong checksum of the spectra."""


class Truncate(Fault, frozen=True, kw_only=True, tag="truncate"):
    """The end of one part is missing; `part` "spectra" loses half of it, the others all of theirs."""

    part: Part = "spectra"


class Duplicate(Fault, frozen=True, kw_only=True, tag="duplicate"):
    """The frame comes twice."""


class Reorder(Fault, frozen=True, kw_only=True, tag="reorder"):
    """The frame comes after the one that follows it."""


class Noise(Fault, frozen=True, kw_only=True, tag="noise"):
    """Bytes that mean nothing come before the frame."""

    size: Annotated[int, Meta(ge=1, le=1 << 20)] = 3000


class Delay(Fault, frozen=True, kw_only=True, tag="delay"):
    """The frame comes late, and what is scanned meanwhile after it, at once."""

    seconds: Seconds = 0.1


# -- what the console sees ----------------------------------------------------------------------------


class Saturate(Fault, frozen=True, kw_only=True, tag="saturated"):
    """The detector is driven beyond its range: every sample at full scale, and the console says so."""


class LaserOff(Fault, frozen=True, kw_only=True, tag="laser_off"):
    """No light: the detector's noise alone, and the console says so."""


class ShutterClosed(Fault, frozen=True, kw_only=True, tag="shutter_closed"):
    """The shutter is closed: as without light, and the console says so."""


class TriggerTooFast(Fault, frozen=True, kw_only=True, tag="trigger_too_fast"):
    """Triggers came faster than the detector can follow, and the console says so."""


class ClockJump(Fault, frozen=True, kw_only=True, tag="clock_jump"):
    """The console's clock jumps, forward or back."""

    seconds: Annotated[float, Meta(ge=-86_400, le=86_400)] = 10.0


class ClockDrift(Fault, frozen=True, kw_only=True, tag="clock_drift"):
    """The console's clock runs too fast, or too slow, from then on."""

    ppm: Annotated[float, Meta(ge=-1e5, le=1e5)] = 200.0


# -- the console, its answers and its wire ---------------------------------------------------------------


class Hang(Fault, frozen=True, kw_only=True, tag="hang"):
    """The console stands still: it scans nothing, but answers."""

    seconds: Seconds = 1.0


class Silent(Fault, frozen=True, kw_only=True, tag="silent"):
    """The console answers nothing; what it scans still comes."""

    seconds: Seconds = 1.0


class Late(Fault, frozen=True, kw_only=True, tag="late"):
    """The next answers are announced with PENDING_ACK, and then take their time."""

    seconds: Annotated[float, Meta(gt=0, le=30)] = 0.3
    """PENDING_ACK announces twice that, at most 65 s."""
    answers: Ordinal = 1


class WrongAnswer(Fault, frozen=True, kw_only=True, tag="wrong_answer"):
    """The next answers do not fit what was asked."""

    answers: Ordinal = 1


class Reset(Fault, frozen=True, kw_only=True, tag="reset"):
    """The console starts anew, within the sweep: it counts sweeps and frames from zero again."""


class Stall(Fault, frozen=True, kw_only=True, tag="stall"):
    """The stream's endpoint stalls (USB); a serial line has nothing like it and goes on."""


class Unplug(Fault, frozen=True, kw_only=True, tag="unplug"):
    """The cable is pulled, and plugged in again after `seconds`; `serial` is that of the console that is then there."""

    seconds: Seconds = 1.0
    serial: Annotated[str, Meta(min_length=1, max_length=15)] | None = None


AnyFault = (
    Drop | Vanish | Corrupt | WrongCrc | Truncate | Duplicate | Reorder | Noise | Delay
    | Saturate | LaserOff | ShutterClosed | TriggerTooFast | ClockJump | ClockDrift
    | Hang | Silent | Late | WrongAnswer | Reset | Stall | Unplug
)  # fmt: skip

OF_FRAMES = (
    Drop, Vanish, Corrupt, WrongCrc, Truncate, Duplicate, Reorder, Saturate, LaserOff, ShutterClosed, TriggerTooFast,
)  # fmt: skip
"""What happens to a frame itself, not to the console or its wire."""


class FaultScript(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong. `seed` decides where chances fall: the same seed, the same places."""

    seed: Annotated[int, Meta(ge=0)] = 0
    until_s: Annotated[float, Meta(gt=0)] | None = None
    """Nothing goes wrong later than this after the first sweep has begun; without it, for ever."""
    fault: tuple[AnyFault, ...] = ()

    def __post_init__(self) -> None:
        for number, fault in enumerate(self.fault, start=1):
            if not fault.frames and not fault.chance:
                raise ValueError(
                    f"fault {number} ({fault.kind}) never happens; say at which frames, or with what chance"
                )
            if fault.frames and fault.chance:
                raise ValueError(
                    f"fault {number} ({fault.kind}) has both frames and a chance; give one of them"
                )


def read_script(path: Path) -> FaultScript:
    """Read a script; ConfigError names the file, what is wrong and what to do."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"fault script {path}: {error.strerror}; check the path") from error
    try:
        return msgspec.toml.decode(content, type=FaultScript)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"fault script {path}: {error}; docs/faults.md lists what a script may say"
        ) from error
