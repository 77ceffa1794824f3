"""What a fault does to a frame on its way: other bytes, more of them, fewer, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octmargin.link.stream import Trailer
from octmargin_simulator.console import FrameParts
from octmargin_simulator.faults import script as kinds
from octmargin_simulator.faults.script import AnyFault, Part

_PARTS: tuple[Part, ...] = ("leader", "spectra", "trailer")


class NothingSent(Exception):  # noqa: N818 - an outcome, no error
    """The frame goes nowhere; `is_counted` where the console counts it as dropped."""

    def __init__(self, *, is_counted: bool) -> None:
        super().__init__()
        self.is_counted = is_counted


def spoil(parts: FrameParts, faults: Sequence[AnyFault], rng: np.random.Generator) -> list[FrameParts]:
    """What is put on the wire in place of `parts`, each as a leader, spectra and a trailer.

    Raises NothingSent where nothing is.
    """
    copies = 1
    for fault in faults:
        match fault:
            case kinds.Drop():
                raise NothingSent(is_counted=True)
            case kinds.Vanish():
                raise NothingSent(is_counted=False)
            case kinds.Corrupt():
                parts = _with(parts, fault.part, _flipped(_part(parts, fault.part), rng))
            case kinds.WrongCrc():
                parts = _with(parts, "trailer", _with_wrong_crc(parts[2]))
            case kinds.Truncate():
                part = _part(parts, fault.part)
                parts = _with(parts, fault.part, part[: len(part) // 2 if fault.part == "spectra" else 0])
            case kinds.Duplicate():
                copies += 1
            case _:
                pass
    return [parts] * copies


def _part(parts: FrameParts, name: Part) -> bytes:
    return bytes(parts[_PARTS.index(name)])


def _with(parts: FrameParts, name: Part, data: bytes) -> FrameParts:
    leader, spectra, trailer = parts
    if name == "leader":
        return data, spectra, trailer
    if name == "trailer":
        return leader, spectra, data
    return leader, memoryview(data), trailer


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _with_wrong_crc(data: bytes) -> bytes:
    """A trailer that is sound itself, with another checksum of the spectra."""
    trailer = Trailer.from_bytes(data)
    return Trailer(
        trailer.sequence,
        trailer.payload_bytes,
        trailer.alines,
        trailer.flags,
        trailer.dropped_before,
        trailer.payload_crc ^ 1,
    ).to_bytes()
