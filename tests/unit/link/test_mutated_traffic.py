"""Ten million bytes of real traffic with mutations, on both framings: nothing but RemoteProtocolError, no growth."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from octmargin.errors import CommandRefusedError, RemoteProtocolError
from octmargin.frames import FrameFlags, PixelFormat
from octmargin.link import gencp
from octmargin.link import registers as reg
from octmargin.link.collector import FrameCollector, LeaderArrived, PayloadArrived, TrailerArrived
from octmargin.link.commands import Command, PendingAck, ReadMem, Status, StreamPiece, WriteMem, parse_command
from octmargin.link.control import ControlHost, RegisterMemory
from octmargin.link.description import SelfDescription
from octmargin.link.registers import ScanStatus
from octmargin.link.stream import Leader, Trailer, close_frame, payload_crc

TOTAL_BYTES = 10_000_000
ALINES, SAMPLES, PIECE_BYTES, FRAMES = 32, 256, 2048, 12
GROWTH_BYTES = 300_000

Parts = tuple[bytes, bytes, bytes]


def frames() -> list[Parts]:
    """Leader, spectra and trailer of each frame of a sweep."""
    rng = np.random.default_rng(0)
    sent = []
    for n in range(FRAMES):
        payload = rng.integers(0, 4096, (ALINES, SAMPLES), dtype=np.uint16).tobytes()
        flags = FrameFlags.LAST_OF_SWEEP if n == FRAMES - 1 else FrameFlags.NONE
        sent.append(
            (
                Leader(n, 1000 * n, PixelFormat.MONO12, SAMPLES, ALINES, 1, n).to_bytes(),
                payload,
                Trailer(n, len(payload), ALINES, flags, 0, payload_crc(payload)).to_bytes(),
            )
        )
    return sent


def answers() -> list[Command]:
    """What a console answers to a host that opens it, configures it and reads its status."""
    memory = RegisterMemory(reg.ALL, on_read=lambda _: None, on_write=lambda _register, _data: Status.SUCCESS)
    requests = [
        ReadMem(1, reg.OCT_PROTOCOL.address, 4),
        ReadMem(2, reg.MAKER.address, 64),
        WriteMem(3, reg.FRAMES.address, reg.FRAMES.pack(40)),
        ReadMem(4, ScanStatus.ADDRESS, ScanStatus.SIZE),
        ReadMem(5, 0xDEAD_0000, 4),
    ]
    given = [memory.answer(request) for request in requests]
    return [PendingAck(1, 100), *(answer for answer in given if answer is not None)]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut pieces out, repeat some, put noise in, or leave it alone."""
    changed = bytearray(data)
    for _ in range(rng.integers(0, 4)):
        at, length = int(rng.integers(len(changed) + 1)), int(rng.integers(1, 200))
        match rng.integers(5):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << int(rng.integers(8))
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                changed[at:at] = rng.bytes(length)
            case 4:
                del changed[at:]
    return bytes(changed)


class UsbHost:
    """The host's half of USB: transfers in, as the driver reads them."""

    def __init__(self) -> None:
        self.sound = 0
        self._leader: Leader | None = None
        self._payload = b""

    def frame(self, parts: Parts) -> None:
        for transfer in parts:
            with contextlib.suppress(RemoteProtocolError):
                self._take(transfer)

    def command(self, transfer: bytes) -> None:
        with contextlib.suppress(RemoteProtocolError, CommandRefusedError):
            answer_to_any(parse_command(transfer))

    def _take(self, transfer: bytes) -> None:
        leader, self._leader = self._leader, None
        if leader is None:
            self._leader, self._payload = Leader.from_bytes(transfer), b""
        elif not self._payload and len(transfer) == leader.payload_bytes:
            self._leader, self._payload = leader, transfer
        else:
            close_frame(leader, self._payload, transfer, 0)
            self.sound += 1


class SerialHost:
    """The host's half of a serial line: bytes in, however cut."""

    def __init__(self) -> None:
        self.sound = 0
        self._decoder, self._collector = gencp.SerialDecoder(), FrameCollector()
        self._leader: Leader | None = None
        self._payload = bytearray()

    def receive(self, data: bytes) -> None:
        self._decoder.receive(data)
        while True:
            try:
                command = self._decoder.next_command()
            except RemoteProtocolError:
                continue
            if command is None:
                return
            with contextlib.suppress(RemoteProtocolError, CommandRefusedError):
                self._take(command)

    def _take(self, command: Command) -> None:
        if not isinstance(command, StreamPiece):
            answer_to_any(command)
            return
        for event in self._collector.collect(command):
            match event:
                case LeaderArrived(leader):
                    self._leader, self._payload = leader, bytearray(leader.payload_bytes)
                case PayloadArrived(offset, data):
                    self._payload[offset : offset + len(data)] = data
                case TrailerArrived(data) if self._leader is not None:
                    close_frame(self._leader, self._payload, data, 0)
                    self.sound += 1
                case _:
                    pass


def answer_to_any(command: Command) -> None:
    """Take an answer as the host does that waits for it, whatever it had asked."""
    host = ControlHost()
    for _ in range(command.request_id % 5):
        host.give_up()
        host.read(reg.MAKER.address, 64)
    answered = host.receive(command)
    data = getattr(answered, "data", b"")
    if len(data) == ScanStatus.SIZE:
        ScanStatus.from_bytes(data)


def run_usb(host: UsbHost, rng: np.random.Generator, sent: list[Parts], said: list[bytes]) -> int:
    parts = tuple(
        mutated(part, rng) if rng.random() < 0.2 else part for part in sent[rng.integers(len(sent))]
    )
    host.frame((parts[0], parts[1], parts[2]))
    transfer = mutated(said[rng.integers(len(said))], rng)
    host.command(transfer)
    return sum(map(len, parts)) + len(transfer)


def run_serial(host: SerialHost, rng: np.random.Generator, sent: list[Parts], said: list[bytes]) -> int:
    leader, payload, trailer = sent[rng.integers(len(sent))]
    whole = leader + payload + trailer
    sequence = int.from_bytes(leader[8:16], "little")
    line = b"".join(
        gencp.encode(StreamPiece(0, sequence, at, whole[at : at + PIECE_BYTES]))
        for at in range(0, len(whole), PIECE_BYTES)
    )
    data = line + said[rng.integers(len(said))]
    if rng.random() < 0.7:
        data = mutated(data, rng)
    cut = int(rng.integers(len(data) + 1))
    host.receive(data[:cut])
    host.receive(data[cut:])
    return len(data)


@pytest.mark.parametrize(
    ("make_host", "run", "encode"),
    [
        pytest.param(UsbHost, run_usb, lambda command: command.to_bytes(), id="usb"),
        pytest.param(SerialHost, run_serial, gencp.encode, id="serial"),
    ],
)
def test_mutated_traffic_is_taken_or_refused_and_leaves_nothing_behind(
    make_host: Callable[[], UsbHost | SerialHost],
    run: Callable[..., int],
    encode: Callable[[Command], bytes],
) -> None:
    rng, host, sent = np.random.default_rng(3), make_host(), frames()
    said = [encode(answer) for answer in answers()]
    fed, taken, early = 0, 0, 0
    tracemalloc.start()
    try:
        while fed < TOTAL_BYTES:
            fed += run(host, rng, sent, said)
            taken += 1
            if not early and fed > TOTAL_BYTES / 5:
                early = tracemalloc.get_traced_memory()[0]
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert late - early < GROWTH_BYTES
    assert taken * 0.2 < host.sound < taken, "sound frames between mutated ones are found, and no others"


def test_a_mutated_self_description_is_taken_or_refused() -> None:
    rng = np.random.default_rng(4)
    good = SelfDescription(
        samples=256, max_alines=32, max_frames=40, max_line_rate_hz=1e5, pixel_formats=("MONO12",),
        faces=("superior",), width_mm=4.0, height_mm=5.0, simulated=True, synthetic=True, source="x",
    ).to_bytes()  # fmt: skip
    refused = 0
    for _ in range(3000):
        try:
            SelfDescription.from_bytes(mutated(good, rng))
        except RemoteProtocolError:
            refused += 1
    assert refused > 500
