"""docs/protocol.md is what a firmware engineer builds from: its tables and dumps are those of the code."""

from __future__ import annotations

import json
import re
from enum import IntEnum, IntFlag
from pathlib import Path

import msgspec
import pytest

from octmargin.frames import FrameFlags, PixelFormat
from octmargin.link import gencp
from octmargin.link import registers as reg
from octmargin.link.commands import CommandCode, ReadMemAck, Status, parse_command
from octmargin.link.description import FactoryCalibration, SelfDescription
from octmargin.link.registers import Access, Faults, Register, ScanStatus
from octmargin.link.stream import Leader, Trailer, close_frame, payload_crc

DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")

Table = list[dict[str, str]]


def tables_of(text: str) -> list[Table]:
    """Every Markdown table as rows by column name."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        names, _, *rows = lines
        assert all(len(row) == len(names) for row in rows), block
        found.append([dict(zip(names, row, strict=True)) for row in rows])
    return found


def rows_with(column: str) -> Table:
    return [row for table in tables_of(DOCUMENT) if column in table[0] for row in table]


def dumps_of(text: str) -> dict[str, bytes]:
    """Every hex dump by its name; offsets must be right."""
    found: dict[str, bytes] = {}
    for name, body in re.findall(r"```hexdump (\S+)\n(.*?)```", text, flags=re.DOTALL):
        data = b""
        for line in body.splitlines():
            offset, digits = line.split("  ")
            assert int(offset, 16) == len(data), name
            data += bytes.fromhex(digits)
        found[name] = data
    return found


def said_of(name: str) -> dict[str, str]:
    """The "decoded field" table that follows a hex dump."""
    after = DOCUMENT.split(f"```hexdump {name}\n", 1)[1]
    rows = next(table for table in tables_of(after) if "decoded field" in table[0])
    return {row["decoded field"].strip("`"): row["value"] for row in rows}


def as_written(value: object, like: str) -> str:
    """`value` in the notation in which the document has it."""
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, Status | PixelFormat):
        return value.name
    assert isinstance(value, int)
    return f"{value:#x}" if like.startswith("0x") else str(int(value))


def assert_said(name: str, *decoded: object) -> None:
    said = said_of(name)
    for field, text in said.items():
        value = next(getattr(part, field) for part in decoded if hasattr(part, field))
        assert as_written(value, text) == text, f"{name}: {field}"


DUMPS = dumps_of(DOCUMENT)
REGISTER_ROWS = {row["name"]: row for row in rows_with("access")}
TYPES = {"u32": "I", "u64": "Q", "text": "s"}
ACCESS = {"R": Access.READ_ONLY, "RW": Access.READ_WRITE}


@pytest.mark.parametrize("register", reg.ALL, ids=lambda register: register.name)
def test_every_register_is_described_as_it_is(register: Register) -> None:
    row = REGISTER_ROWS[register.name]
    assert (int(row["address"], 16), int(row["size"])) == (register.address, register.size)
    assert TYPES[row["type"]] == register.code
    assert ACCESS[row["access"]] is register.access
    assert row["meaning, and what is refused"]


def test_no_register_is_described_that_is_not_there() -> None:
    assert set(REGISTER_ROWS) == {register.name for register in reg.ALL}


def test_the_status_block_is_where_the_document_says() -> None:
    assert f"The {ScanStatus.SIZE} bytes from *scan state* ({ScanStatus.ADDRESS:#x})" in DOCUMENT
    assert f"(end at {ScanStatus.ADDRESS + ScanStatus.SIZE:#x})" in DOCUMENT


@pytest.mark.parametrize(
    ("column", "value_column", "kind"),
    [
        ("status", "code", Status),
        ("command", "code", CommandCode),
        ("fault", "value", Faults),
        ("frame flag", "value", FrameFlags),
    ],
)
def test_every_code_and_bit_is_there_with_its_value(
    column: str, value_column: str, kind: type[IntEnum | IntFlag]
) -> None:
    said = {row[column].strip("`"): int(row[value_column], 16) for row in rows_with(column)}
    assert said == {member.name: int(member) for member in kind if int(member) or kind is Status}


def test_every_pixel_format_is_there_with_its_code() -> None:
    rows = [row for row in rows_with("sample") if "name" in row]
    assert {row["name"].strip("`"): int(row["code"], 16) for row in rows} == {
        format_.name: format_.value for format_ in PixelFormat
    }


@pytest.mark.parametrize("name", ["READMEM", "READMEM_ACK", "WRITEMEM", "WRITEMEM_ACK", "PENDING_ACK"])
def test_the_dumps_of_commands_decode_to_what_is_said(name: str) -> None:
    command = parse_command(DUMPS[name])
    assert command.code is CommandCode[name]
    status = ScanStatus.from_bytes(command.data) if isinstance(command, ReadMemAck) else None
    assert_said(name, command, status)


@pytest.mark.parametrize("name", ["serial-readmem", "serial-piece"])
def test_the_dumps_of_serial_packets_decode_to_what_is_said(name: str) -> None:
    decoder = gencp.SerialDecoder()
    decoder.receive(DUMPS[name])
    assert_said(name, decoder.next_command())


def test_the_worked_checksum_is_that_of_the_packet() -> None:
    packet = DUMPS["serial-readmem"]
    channel, header, body = packet[6:8], packet[8:20], packet[20:]
    words = [f"{int.from_bytes(pair, 'big'):04X}" for pair in zip(*[iter(channel + header)] * 2, strict=True)]
    assert f"`{' '.join(words)}`" in DOCUMENT
    assert f"`{' '.join(body.hex().upper()[at : at + 4] for at in range(0, len(body) * 2, 4))}`" in DOCUMENT
    for data, checksum in ((channel + header, packet[2:4]), (channel + header + body, packet[4:6])):
        total = int.from_bytes(checksum, "big")
        assert f"0x{0xFFFF - total:04X}, inverted 0x{total:04X}" in DOCUMENT
        assert gencp.checksum16(data) == total


def test_the_dumps_of_a_frame_decode_to_what_is_said() -> None:
    leader, trailer = Leader.from_bytes(DUMPS["leader"]), Trailer.from_bytes(DUMPS["trailer"])
    assert_said("leader", leader)
    assert_said("trailer", trailer)
    assert trailer.payload_crc == payload_crc(DUMPS["payload"])
    header = close_frame(leader, DUMPS["payload"], DUMPS["trailer"], received_at_ns=1)
    assert header.sequence == int(said_of("serial-piece")["sequence"])


def test_the_example_of_a_self_description_has_every_field() -> None:
    text = re.search(r"```json self-description\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    assert text is not None
    example = json.loads(text[1])
    description = SelfDescription.from_bytes(text[1].encode())
    assert msgspec.to_builtins(description, builtin_types=(tuple,)) == {
        **example,
        "pixel_formats": tuple(example["pixel_formats"]),
        "faces": tuple(example["faces"]),
        "calibration": {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in example["calibration"].items()
        },
    }
    assert {row["field"].strip("`") for row in rows_with("must be there") if "field" in row} == set(
        SelfDescription.__struct_fields__
    )
    assert {row["field of `calibration`"].strip("`") for row in rows_with("field of `calibration`")} == set(
        FactoryCalibration.__struct_fields__
    )


@pytest.mark.parametrize(("heading", "size"), [("Leader", Leader.SIZE), ("Trailer", Trailer.SIZE)])
def test_the_byte_tables_of_a_frame_have_no_gap(heading: str, size: int) -> None:
    table = tables_of(DOCUMENT.split(f"### {heading}\n", 1)[1])[0]
    at = 0
    for row in table:
        assert int(row["offset"]) == at, row
        at += int(row["size"])
    assert at == size
