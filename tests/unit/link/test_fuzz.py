"""Any bytes are parsed or raise RemoteProtocolError, whatever way they are split."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.errors import RemoteProtocolError
from octmargin.frames import FrameFlags, PixelFormat
from octmargin.link import gencp
from octmargin.link.collector import FrameBroken, FrameCollector, PayloadArrived, TrailerArrived
from octmargin.link.commands import (
    Command,
    PendingAck,
    ReadMem,
    ReadMemAck,
    Status,
    StreamPiece,
    WriteMem,
    WriteMemAck,
    parse_command,
)
from octmargin.link.description import SelfDescription
from octmargin.link.registers import ScanStatus
from octmargin.link.stream import Leader, Trailer, close_frame, payload_crc

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
u64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)

commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(ReadMem, u16, u64, st.integers(1, 1024)),
    st.builds(ReadMemAck, u16, st.binary(max_size=1024), st.sampled_from(Status)),
    st.builds(WriteMem, u16, u64, st.binary(min_size=1, max_size=1016)),
    st.builds(WriteMemAck, u16, u16, st.sampled_from(Status)),
    st.builds(PendingAck, u16, u16),
    st.builds(StreamPiece, u16, u64, u32, st.binary(min_size=1, max_size=300)),
)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(borders)]


def decode_all(
    decoder: gencp.SerialDecoder, chunks: list[bytes]
) -> tuple[list[Command], list[RemoteProtocolError]]:
    found: list[Command] = []
    errors: list[RemoteProtocolError] = []
    for chunk in chunks:
        decoder.receive(chunk)
        while True:
            try:
                command = decoder.next_command()
            except RemoteProtocolError as error:
                errors.append(error)
                continue
            if command is None:
                break
            found.append(command)
    return found, errors


@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_garbage_on_the_serial_line_is_parsed_or_refused_and_nothing_else(
    data: bytes, cuts: list[int]
) -> None:
    decode_all(gencp.SerialDecoder(), pieces_of(data, cuts))


@given(sent=st.lists(commands, min_size=1, max_size=6), cuts=st.lists(st.integers(0, 5000), max_size=20))
def test_commands_on_the_serial_line_survive_any_split(sent: list[Command], cuts: list[int]) -> None:
    data = b"".join(map(gencp.encode, sent))
    found, errors = decode_all(gencp.SerialDecoder(), pieces_of(data, cuts))
    assert found == sent
    assert errors == []


@given(command=commands)
def test_a_usb_transfer_is_one_command(command: Command) -> None:
    assert parse_command(command.to_bytes()) == command


@given(data=st.binary(max_size=100) | st.builds(lambda tail: b"U3VC" + tail, st.binary(max_size=60)))
def test_a_usb_transfer_of_garbage_is_refused(data: bytes) -> None:
    try:
        command = parse_command(data)
    except RemoteProtocolError:
        return
    assert parse_command(command.to_bytes()) == command


@given(command=commands, cut=st.integers(0, 5000), tail=st.binary(min_size=1, max_size=20))
def test_a_usb_transfer_that_is_too_short_or_too_long_is_refused(
    command: Command, cut: int, tail: bytes
) -> None:
    data = command.to_bytes()
    with pytest.raises(RemoteProtocolError):
        parse_command(data[: cut % len(data)])
    with pytest.raises(RemoteProtocolError):
        parse_command(data + tail)


@given(
    before=commands,
    garbage=st.binary(min_size=1, max_size=400),
    after=commands,
    cuts=st.lists(st.integers(0, 5000), max_size=8),
)
def test_a_good_packet_after_garbage_on_the_serial_line_is_found(
    before: Command, garbage: bytes, after: Command, cuts: list[int]
) -> None:
    # Garbage may end like the beginning of a packet that claims what follows; a second good packet and
    # enough bytes behind it let the decoder see that the claim was false.
    tail = [after, PendingAck(1, 1), PendingAck(2, 2)]
    data = gencp.encode(before) + garbage + b"".join(map(gencp.encode, tail)) + bytes(20000)
    found, _ = decode_all(gencp.SerialDecoder(), pieces_of(data, cuts))
    assert found[0] == before
    assert [c for c in found[1:] if c in tail][-3:] == tail


@given(command=commands, position=st.integers(0, 5000), bit=st.integers(0, 7))
def test_a_flipped_bit_on_the_serial_line_is_never_taken_for_a_command(
    command: Command, position: int, bit: int
) -> None:
    data = bytearray(gencp.encode(command))
    data[position % len(data)] ^= 1 << bit
    found, _ = decode_all(gencp.SerialDecoder(), [bytes(data)])
    assert found == []


leaders = st.builds(
    Leader, u64, u64, st.sampled_from(PixelFormat), st.integers(1, 64), st.integers(1, 16), u32, u32
)


@given(leader=leaders)
def test_a_leader_comes_back_as_it_went(leader: Leader) -> None:
    assert Leader.from_bytes(leader.to_bytes()) == leader


@given(sequence=u64, size=u64, alines=u32, flags=u32, dropped=u64, crc=u32)
def test_a_trailer_comes_back_as_it_went(
    sequence: int, size: int, alines: int, flags: int, dropped: int, crc: int
) -> None:
    trailer = Trailer(sequence, size, alines, FrameFlags(flags), dropped, crc)
    assert Trailer.from_bytes(trailer.to_bytes()) == trailer


@pytest.mark.parametrize("parse", [Leader.from_bytes, Trailer.from_bytes, ScanStatus.from_bytes])
@given(data=st.binary(max_size=200))
def test_garbage_is_no_leader_trailer_or_status(parse: Callable[[bytes], object], data: bytes) -> None:
    try:
        parse(data)
    except RemoteProtocolError:
        return
    # A status block has no checksum: 40 bytes with a known state are one.
    assert parse == ScanStatus.from_bytes
    assert len(data) == ScanStatus.SIZE


@given(data=st.binary(max_size=200))
def test_garbage_is_no_self_description(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        SelfDescription.from_bytes(data)


@given(
    leader=leaders,
    part=st.sampled_from(["leader", "payload", "trailer"]),
    position=st.integers(0),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_in_any_part_of_a_frame_is_found(
    leader: Leader, part: str, position: int, bit: int
) -> None:
    payload = bytes(i % 251 for i in range(leader.payload_bytes))
    trailer = Trailer(leader.sequence, len(payload), leader.alines, FrameFlags.NONE, 0, payload_crc(payload))
    parts = {
        "leader": bytearray(leader.to_bytes()),
        "payload": bytearray(payload),
        "trailer": bytearray(trailer.to_bytes()),
    }
    parts[part][position % len(parts[part])] ^= 1 << bit
    with pytest.raises(RemoteProtocolError):
        close_frame(Leader.from_bytes(parts["leader"]), parts["payload"], parts["trailer"], received_at_ns=1)


stream_pieces = st.builds(
    StreamPiece, u16, st.integers(0, 3), st.integers(0, 400), st.binary(min_size=1, max_size=200)
)


@given(pieces=st.lists(stream_pieces, max_size=20))
def test_any_stream_pieces_give_events_and_no_error(pieces: list[StreamPiece]) -> None:
    collector = FrameCollector()
    for piece in pieces:
        for event in collector.collect(piece):
            assert not isinstance(event, TrailerArrived)


@given(leader=leaders, cuts=st.lists(st.integers(0), max_size=12), missing=st.none() | st.integers(0, 12))
def test_a_frame_in_pieces_is_whole_or_broken(leader: Leader, cuts: list[int], missing: int | None) -> None:
    payload = bytes(i % 253 for i in range(leader.payload_bytes))
    trailer = Trailer(leader.sequence, len(payload), leader.alines, FrameFlags.NONE, 7, payload_crc(payload))
    data = leader.to_bytes() + payload + trailer.to_bytes()
    chunks = [chunk for chunk in pieces_of(data, cuts) if chunk]
    dropped = None if missing is None else missing % len(chunks)
    collector = FrameCollector()
    events: list[object] = []
    offset = 0
    for number, chunk in enumerate(chunks):
        if number != dropped:
            events += collector.collect(StreamPiece(number & 0xFFFF, leader.sequence, offset, chunk))
        offset += len(chunk)
    ends = [event for event in events if isinstance(event, TrailerArrived)]
    if dropped is not None:
        assert ends == []
        return
    buffer = bytearray(leader.payload_bytes)
    for event in events:
        if isinstance(event, PayloadArrived):
            buffer[event.offset : event.offset + len(event.data)] = event.data
    assert not any(isinstance(event, FrameBroken) for event in events)
    header = close_frame(leader, buffer, ends[0].data, received_at_ns=5)
    assert (header.sequence, header.dropped_before, bytes(buffer)) == (leader.sequence, 7, payload)
