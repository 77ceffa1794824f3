"""Driver that plays spectra from a file as if a console scanned them.

Address: the file's path with options behind it,
`PATH?synthetic=yes|no&face=NAME&pace=own|max|HZ&samples=N&alines=N&dataset=NAME`.
`synthetic` has no default: a file does not tell whether its spectra were computed, and every result must.
A file is one sweep over one face, `superior` unless named.
`own` is the plan's A-line rate, a number another rate, `max` as fast as the consumer takes them (nothing is
dropped then). `samples` and `alines` are needed for .bin files, which do not say so themselves.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from numpy.typing import NDArray

from octmargin.device import (
    DeviceEvent,
    Disconnected,
    Driver,
    SweepAccount,
    SweepEnded,
    SweepStarted,
    on_loop,
)
from octmargin.errors import CommandRefusedError, ConfigError, DeviceNotFoundError, LocalProtocolError
from octmargin.frames import ConsoleInfo, FrameFlags, FrameHeader, PixelFormat, ScanPlan
from octmargin.link.description import SelfDescription
from octmargin.ring import FrameRing
from octmargin.spectra import CountScale, SpectraFile

OWN_PACE, MAX_PACE = "own", "max"
DEFAULT_FACE = "superior"
_OPTIONS = ("synthetic", "face", "pace", "samples", "alines", "dataset")


@dataclass(frozen=True, slots=True)
class ReplayAddress:
    """A parsed address."""

    path: Path
    pace: str | float = OWN_PACE
    samples: int | None = None
    alines: int | None = None
    dataset: str | None = None
    synthetic: bool = True
    face: str = DEFAULT_FACE

    @classmethod
    def parse(cls, address: str) -> ReplayAddress:
        """ConfigError names the option that is not understood."""
        path, _, query = address.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for key in options:
            if key not in _OPTIONS:
                raise ConfigError(
                    f'replay address "{address}": unknown option "{key}"; known: {", ".join(_OPTIONS)}'
                )
        pace: str | float = options.get("pace", OWN_PACE)
        if pace not in (OWN_PACE, MAX_PACE):
            pace = _number(address, "pace", str(pace))
        samples, alines = (
            _count(address, key, options[key]) if key in options else None for key in ("samples", "alines")
        )
        return cls(
            Path(path),
            pace,
            samples,
            alines,
            options.get("dataset"),
            _yes_or_no(address, options.get("synthetic", "")),
            options.get("face", DEFAULT_FACE),
        )


def _yes_or_no(address: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise ConfigError(
            f'replay address "{address}": say whether its spectra were computed: synthetic=yes or synthetic=no'
        )
    return text == "yes"


def _count(address: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise ConfigError(f'replay address "{address}": {key}={text}; give a whole number above 0')
    return int(text)


def _number(address: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (text.isascii() and math.isfinite(value) and value > 0):
        raise ConfigError(f'replay address "{address}": {key}={text}; give a number above 0')
    return value


class ReplayDriver(Driver):
    """Plays a file; place n of a sweep is the file's frame n."""

    name: ClassVar[str] = "replay"
    exclusive: ClassVar[bool] = False

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._options = ReplayAddress.parse(address)
        self._file: SpectraFile | None = None
        self._scale: CountScale | None = None
        self._plan: ScanPlan | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._events: asyncio.Queue[DeviceEvent | None] = asyncio.Queue()
        self._sequence = 0
        self._sweep: SweepStarted | None = None
        self._sweeps = 0

    @classmethod
    async def discover(cls) -> list[ConsoleInfo]:
        """Files are named, not found."""
        return []

    async def open(self) -> None:
        """Open the file; floats are scaled to 16-bit counts over the file's whole range."""
        options = self._options
        if not options.path.is_file():
            raise DeviceNotFoundError(
                f"replay: {options.path}: no such file; give the path of a file of spectra"
            )
        self._file = SpectraFile.open(
            options.path, samples=options.samples, alines=options.alines, dataset=options.dataset
        )
        if self._file.dtype.kind == "f":
            self._scale = await asyncio.to_thread(self._file.to_counts, PixelFormat.MONO16.full_scale)

    async def identify(self) -> ConsoleInfo:
        """A console whose serial number is made from the file's name and size."""
        file = self._opened()
        digest = hashlib.sha256(f"{file.path.name}:{file.path.stat().st_size}".encode()).hexdigest()[:8]
        description = SelfDescription(
            samples=file.samples,
            max_alines=file.alines,
            max_frames=file.frames,
            max_line_rate_hz=None,
            pixel_formats=(self._pixel_format.name,),
            faces=(self._options.face,),
            width_mm=10.0,
            height_mm=10.0,
            simulated=True,
            synthetic=self._options.synthetic,
            source=file.path.name,
        )
        return ConsoleInfo(
            "replay", self.address, maker="octmargin", model="replay", serial=digest,
            firmware="-", capabilities=msgspec.to_builtins(description),
        )  # fmt: skip

    async def configure(self, plan: ScanPlan) -> None:
        """Take any plan that the file can serve."""
        file = self._opened()
        for name, wanted, there in (
            ("samples", plan.samples, file.samples),
            ("alines", plan.alines, file.alines),
            ("frames", plan.frames, file.frames),
        ):
            if wanted > there or (name == "samples" and wanted != there):
                raise CommandRefusedError(
                    f"replay: {name} = {wanted}, but {file.path.name} has {there}; set scan.{name}"
                )
        if plan.face != self._options.face:
            raise CommandRefusedError(f"replay: {file.path.name} shows {self._options.face}, not {plan.face}")
        if plan.pixel_format is not self._pixel_format:
            raise CommandRefusedError(f"replay: {file.path.name} is played as {self._pixel_format.name}")
        self._plan = plan

    async def start(self, ring: FrameRing) -> SweepStarted:
        """Play the file from the plan's first frame on."""
        if self._thread is not None:
            raise LocalProtocolError("a sweep is running; stop it first")
        if self._plan is None:
            raise LocalProtocolError("configure a plan before starting")
        self._sweeps += 1
        self._sweep = SweepStarted(self._sweeps, self._sequence)
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._play, args=(ring, self._plan, self._sweep, asyncio.get_running_loop()), daemon=True
        )
        self._thread.start()
        return self._sweep

    async def stop(self) -> SweepAccount:
        """Stop playing; what was played is what was numbered."""
        thread, sweep = self._thread, self._sweep
        if thread is None or sweep is None:
            raise LocalProtocolError("no sweep is running")
        self._stopping.set()
        await asyncio.to_thread(thread.join)
        self._thread = self._sweep = None
        return SweepAccount(sweep.sweep, self._sequence, self._sequence - sweep.first_sequence, 0)

    async def events(self) -> AsyncIterator[DeviceEvent]:
        """The end of each sweep."""
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        """Stop and close."""
        if self._thread is not None:
            await self.stop()
        self._file = None
        self._events.put_nowait(None)

    def _opened(self) -> SpectraFile:
        if self._file is None:
            raise LocalProtocolError("open the file first")
        return self._file

    @property
    def _pixel_format(self) -> PixelFormat:
        return PixelFormat.MONO8 if self._opened().dtype == np.uint8 else PixelFormat.MONO16

    def _play(
        self, ring: FrameRing, plan: ScanPlan, sweep: SweepStarted, loop: asyncio.AbstractEventLoop
    ) -> None:
        end: DeviceEvent = SweepEnded()
        try:
            self._play_frames(ring, plan, sweep)
        except Exception as error:  # noqa: BLE001 - a damaged file may fail in any way, and must be told
            end = Disconnected(f"replay: {self._options.path} cannot be read on ({error}); check the file")
        on_loop(loop, self._events.put_nowait, end)

    def _play_frames(self, ring: FrameRing, plan: ScanPlan, sweep: SweepStarted) -> None:
        pace = self._options.pace
        rate_hz = plan.line_rate_hz if pace == OWN_PACE else pace
        started_s = time.monotonic()
        for index in range(plan.first_frame, plan.frames):
            due_s = started_s
            if isinstance(rate_hz, float):
                due_s += (index - plan.first_frame + 1) * plan.alines / rate_hz
            if self._stopping.wait(max(0.0, due_s - time.monotonic())):
                break
            if pace == MAX_PACE and not self._wait_for_room(ring):
                break
            self._play_frame(ring, plan, sweep, index)

    def _wait_for_room(self, ring: FrameRing) -> bool:
        """Let the consumers keep up: replay at full speed must not lose what a disk can wait with."""
        while not ring.wait_for_room(0.1):
            if self._stopping.is_set():
                return False
        return True

    def _play_frame(self, ring: FrameRing, plan: ScanPlan, sweep: SweepStarted, index: int) -> None:
        spectra = self._opened().frame(index)[: plan.alines]
        counts: NDArray[Any] = spectra if self._scale is None else self._scale.apply(spectra)
        slot = ring.reserve()
        dtype = plan.pixel_format.dtype
        slot.memory[: plan.frame_bytes].view(dtype)[:] = counts.reshape(-1)
        ring.commit(
            slot,
            FrameHeader(
                sequence=self._sequence,
                sweep=sweep.sweep,
                index=index,
                device_timestamp_ns=time.monotonic_ns(),
                alines=plan.alines,
                samples=plan.samples,
                pixel_format=plan.pixel_format,
                flags=FrameFlags.LAST_OF_SWEEP if index == plan.frames - 1 else FrameFlags.NONE,
                received_at_ns=time.time_ns(),
            ),
        )
        self._sequence += 1
