"""Control: one request at a time on the host's side, whole registers on the console's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.errors import CommandRefusedError, LocalProtocolError, RemoteProtocolError
from octmargin.link import registers as reg
from octmargin.link.commands import (
    MAX_COMMAND_DATA,
    Command,
    PendingAck,
    ReadMem,
    ReadMemAck,
    Status,
    StreamPiece,
    WriteMem,
    WriteMemAck,
)
from octmargin.link.control import (
    Answered,
    ControlHost,
    RegisterMemory,
    StillPending,
    split_read,
    split_write,
)
from octmargin.link.registers import Register


class TestHost:
    def test_every_request_has_an_id_of_its_own(self) -> None:
        host = ControlHost()
        seen = set()
        for _ in range(300):
            request = host.read(0, 4)
            seen.add(request.request_id)
            host.receive(ReadMemAck(request.request_id, bytes(4)))
        assert len(seen) == 300

    def test_ids_start_again_after_65535(self) -> None:
        host = ControlHost()
        ids = []
        for _ in range(0x10001):
            ids.append(host.read(0, 4).request_id)
            host.give_up()
        assert ids[:2] == [1, 2]
        assert ids[0xFFFE:] == [0xFFFF, 0, 1]

    def test_a_read_is_answered_with_its_bytes(self) -> None:
        host = ControlHost()
        request = host.read(0x1234, 3)
        assert request == ReadMem(1, 0x1234, 3)
        assert host.receive(ReadMemAck(1, b"abc")) == Answered(b"abc")

    def test_a_write_is_answered_with_nothing(self) -> None:
        host = ControlHost()
        assert host.write(0x1234, b"abcd") == WriteMem(1, 0x1234, b"abcd")
        assert host.receive(WriteMemAck(1, 4)) == Answered(b"")

    def test_a_second_request_waits_for_the_first(self) -> None:
        host = ControlHost()
        host.read(0, 4)
        with pytest.raises(LocalProtocolError, match="still open"):
            host.write(0, b"1234")

    def test_a_pending_ack_leaves_the_request_open(self) -> None:
        host = ControlHost()
        host.read(0, 1)
        assert host.receive(PendingAck(1, 2500)) == StillPending(2500)
        assert host.receive(PendingAck(1, 10)) == StillPending(10)
        assert host.receive(ReadMemAck(1, b"x")) == Answered(b"x")

    @pytest.mark.parametrize("late", [ReadMemAck(1, b"old!"), WriteMemAck(1, 4), PendingAck(1, 9)])
    def test_late_answers_are_ignored(self, late: Command) -> None:
        host = ControlHost()
        host.read(0, 4)
        host.give_up()
        assert host.receive(late) is None
        host.read(0, 4)
        assert host.receive(late) is None
        assert host.receive(ReadMemAck(2, b"new!")) == Answered(b"new!")
        assert host.receive(ReadMemAck(2, b"new!")) is None

    @pytest.mark.parametrize("status", [status for status in Status if status is not Status.SUCCESS])
    def test_a_refusal_names_what_was_asked_and_why_not(self, status: Status) -> None:
        host = ControlHost()
        host.read(0x10, 8)
        why = status.name.lower().replace("_", " ")
        with pytest.raises(CommandRefusedError, match=f"read of 8 bytes at 0x10: {why}"):
            host.receive(ReadMemAck(1, b"", status))
        host.write(0x20, b"1234")
        with pytest.raises(CommandRefusedError, match=f"write of 4 bytes at 0x20: {why}"):
            host.receive(WriteMemAck(2, 0, status))
        host.read(0, 4)  # a refused request is done

    @pytest.mark.parametrize(
        ("answer", "complaint"),
        [
            (ReadMemAck(1, b"123"), "gave 3"),
            (ReadMemAck(1, b"12345"), "gave 5"),
            (WriteMemAck(1, 4), "WriteMemAck answers a ReadMem"),
            (StreamPiece(1, 0, 0, b"x"), "StreamPiece answers a ReadMem"),
            (ReadMem(1, 0, 4), "may only answer"),
            (WriteMem(1, 0, b"1234"), "may only answer"),
        ],
    )
    def test_an_answer_that_does_not_fit_breaks_the_protocol(self, answer: Command, complaint: str) -> None:
        host = ControlHost()
        host.read(0, 4)
        with pytest.raises(RemoteProtocolError, match=complaint):
            host.receive(answer)

    def test_a_partial_write_breaks_the_protocol(self) -> None:
        host = ControlHost()
        host.write(0, b"1234")
        with pytest.raises(RemoteProtocolError, match="only 2 of 4"):
            host.receive(WriteMemAck(1, 2))


@given(address=st.integers(0, 1 << 40), size=st.integers(0, 10_000))
def test_a_long_read_is_split_without_gap_or_overlap(address: int, size: int) -> None:
    parts = split_read(address, size)
    assert all(ReadMem(0, at, length).to_bytes() for at, length in parts)
    covered = [at + i for at, length in parts for i in range(length)]
    assert covered == list(range(address, address + size))


@given(address=st.integers(0, 1 << 40), data=st.binary(max_size=5000))
def test_a_long_write_is_split_without_gap_or_overlap(address: int, data: bytes) -> None:
    parts = split_write(address, data)
    assert all(len(WriteMem(0, at, part).to_bytes()) <= 12 + MAX_COMMAND_DATA for at, part in parts)
    assert b"".join(part for _, part in parts) == data
    assert [at - address for at, _ in parts] == [sum(len(p) for _, p in parts[:i]) for i in range(len(parts))]


class TestConsole:
    """Register memory with a hole in it: 4 bytes at 0x10, 8 at 0x18, a text at 0x20, read-only at 0x40."""

    number = Register("number", 0x10, 4, "I", reg.Access.READ_WRITE)
    long = Register("long", 0x18, 8, "Q", reg.Access.READ_WRITE)
    text = Register("text", 0x20, 16, "s", reg.Access.READ_WRITE)
    fixed = Register("fixed", 0x40, 4, "I")

    @pytest.fixture
    def written(self) -> list[tuple[Register, bytes]]:
        return []

    @pytest.fixture
    def live(self) -> dict[Register, int]:
        return {}

    @pytest.fixture
    def memory(self, written: list[tuple[Register, bytes]], live: dict[Register, int]) -> RegisterMemory:
        def on_write(register: Register, data: bytes) -> Status:
            if data == b"\xff" * register.size:
                return Status.INVALID_PARAMETER
            written.append((register, data))
            return Status.SUCCESS

        memory = RegisterMemory(
            [self.text, self.fixed, self.number, self.long], on_read=live.get, on_write=on_write
        )
        memory.store(self.number, 0x0403_0201)
        memory.store(self.long, 0x1817_1615_1413_1211)
        memory.store(self.text, "inferior")
        memory.store(self.fixed, 77)
        return memory

    def read(self, memory: RegisterMemory, address: int, size: int) -> bytes | Status:
        answer = memory.answer(ReadMem(5, address, size))
        assert isinstance(answer, ReadMemAck)
        assert answer.request_id == 5
        return answer.data if answer.status is Status.SUCCESS else answer.status

    def write(self, memory: RegisterMemory, address: int, data: bytes) -> Status:
        answer = memory.answer(WriteMem(6, address, data))
        assert isinstance(answer, WriteMemAck)
        assert answer.written == (len(data) if answer.status is Status.SUCCESS else 0)
        return answer.status

    def test_a_row_of_registers_is_read_in_one_access_and_gaps_are_zero(self, memory: RegisterMemory) -> None:
        expected = bytearray(0x44)
        expected[0x10:0x14] = bytes([1, 2, 3, 4])
        expected[0x18:0x20] = bytes(range(0x11, 0x19))
        expected[0x20:0x28] = b"inferior"
        expected[0x40] = 77
        assert self.read(memory, 0, 0x44) == bytes(expected)

    @given(address=st.integers(0, 0x44), size=st.integers(1, 0x50))
    def test_any_part_of_it_can_be_read(self, address: int, size: int) -> None:
        memory = RegisterMemory(
            [self.number, self.fixed], on_read=lambda _: None, on_write=lambda *_: Status.SUCCESS
        )
        memory.store(self.number, 0x0403_0201)
        memory.store(self.fixed, 77)
        whole = bytes(0x10) + bytes([1, 2, 3, 4]) + bytes(0x2C) + bytes([77, 0, 0, 0]) + bytes(0x80)
        end = address + size
        touched = (address < 0x14 and end > 0x10) or (address < 0x44 and end > 0x40)
        assert self.read(memory, address, size) == (whole[address:end] if touched else Status.INVALID_ADDRESS)

    def test_a_live_register_reads_as_it_is_now(
        self, memory: RegisterMemory, live: dict[Register, int]
    ) -> None:
        live[self.number] = 9
        assert self.read(memory, 0x10, 4) == bytes([9, 0, 0, 0])

    def test_a_written_register_reads_back_and_is_told(
        self, memory: RegisterMemory, written: list[tuple[Register, bytes]]
    ) -> None:
        assert self.write(memory, 0x10, bytes([9, 8, 7, 6])) is Status.SUCCESS
        assert written == [(self.number, bytes([9, 8, 7, 6]))]
        assert memory.number(self.number) == 0x0607_0809
        assert self.write(memory, 0x20, b"anterior".ljust(16, b"\0")) is Status.SUCCESS
        assert memory.text(self.text) == "anterior"

    def test_a_refused_value_changes_nothing(self, memory: RegisterMemory) -> None:
        assert self.write(memory, 0x10, b"\xff" * 4) is Status.INVALID_PARAMETER
        assert memory.number(self.number) == 0x0403_0201

    @pytest.mark.parametrize(
        ("address", "data", "status"),
        [
            (0x10, b"123", Status.BAD_ALIGNMENT),
            (0x10, b"12345678", Status.BAD_ALIGNMENT),
            (0x12, b"12", Status.INVALID_ADDRESS),
            (0x14, b"1234", Status.INVALID_ADDRESS),
            (0x40, b"1234", Status.WRITE_PROTECT),
            (0x40, b"12", Status.WRITE_PROTECT),
            (0x100, b"1234", Status.INVALID_ADDRESS),
        ],
    )
    def test_only_whole_writable_registers_are_written(
        self,
        memory: RegisterMemory,
        written: list[tuple[Register, bytes]],
        address: int,
        data: bytes,
        status: Status,
    ) -> None:
        before = self.read(memory, 0, 0x44)
        assert self.write(memory, address, data) is status
        assert self.read(memory, 0, 0x44) == before
        assert written == []

    def test_a_blob_is_read_in_parts_and_not_beyond_its_end(self, memory: RegisterMemory) -> None:
        memory.add_blob(0x2_0000, b"0123456789")
        assert self.read(memory, 0x2_0000, 10) == b"0123456789"
        assert self.read(memory, 0x2_0003, 4) == b"3456"
        assert self.read(memory, 0x2_0003, 8) is Status.INVALID_ADDRESS
        assert self.write(memory, 0x2_0000, b"x") is Status.INVALID_ADDRESS

    def test_what_is_no_request_is_not_answered(self, memory: RegisterMemory) -> None:
        assert memory.answer(ReadMemAck(1, b"")) is None
        assert memory.answer(PendingAck(1, 1)) is None


class TestRegister:
    def test_text_must_leave_room_for_its_end(self) -> None:
        assert reg.FACE.pack("x" * 31) == b"x" * 31 + b"\0"
        with pytest.raises(LocalProtocolError, match=r"face.*32 bytes, at most 31"):
            reg.FACE.pack("x" * 32)

    @pytest.mark.parametrize("value", [-1, 1 << 32, "many"])
    def test_a_number_that_does_not_fit_is_refused_by_name(self, value: int | str) -> None:
        with pytest.raises(LocalProtocolError, match="register frames per sweep"):
            reg.FRAMES.pack(value)

    def test_text_that_is_not_utf8_is_shown_and_not_hidden(self) -> None:
        assert reg.MODEL.unpack_text(b"ab\xffc\0rest") == r"ab\xffc"

    @pytest.mark.parametrize("data", [b"", b"123", b"12345"])
    def test_a_number_of_another_size_breaks_the_protocol(self, data: bytes) -> None:
        with pytest.raises(RemoteProtocolError, match="register samples"):
            reg.SAMPLES.unpack_int(data)

    def test_registers_do_not_overlap(self) -> None:
        registers = sorted(reg.ALL, key=lambda register: register.address)
        for first, second in pairwise(registers):
            assert first.address + first.size <= second.address
