"""The ledger of sequence numbers: every frame that the console numbered is received or lost, never neither."""

from __future__ import annotations

from octmargin.frames import LossCause, LostFrames


class SequenceLedger:
    """Follows the sequence numbers of a stream that starts at `first_sequence`."""

    def __init__(self, first_sequence: int, dropped_by_console: int = 0) -> None:
        self._next = first_sequence
        self._dropped_by_console = dropped_by_console
        self._reason_of_gap = ""

    @property
    def next_sequence(self) -> int:
        """The number of the next frame that is not yet accounted for."""
        return self._next

    @property
    def dropped_by_console(self) -> int:
        """The console's count of dropped frames, as far as it is known here."""
        return self._dropped_by_console

    def broken(self, reason: str) -> None:
        """Remember why the next gap is there (wrong checksum, missing piece)."""
        self._reason_of_gap = reason

    def received(self, sequence: int, dropped_by_console: int) -> tuple[bool, list[LostFrames]]:
        """Account for a frame that arrived whole; `dropped_by_console` is the count in its trailer.

        Gives whether it is new (False: a duplicate or a late one, not to be processed again) and the
        frames that were lost before it.
        """
        if sequence < self._next:
            return False, []
        lost = self._lose_until(sequence, dropped_by_console)
        self._next = sequence + 1
        return True, lost

    def close(self, numbered: int, dropped_by_console: int) -> list[LostFrames]:
        """Account for the end: the console numbered the frames below `numbered`."""
        return self._lose_until(numbered, dropped_by_console)

    def _lose_until(self, sequence: int, dropped_by_console: int) -> list[LostFrames]:
        dropped = dropped_by_console - self._dropped_by_console
        self._dropped_by_console = dropped_by_console
        count = sequence - self._next
        detail, self._reason_of_gap = self._reason_of_gap, ""
        if count <= 0:
            return []
        # Which of the missing frames the console dropped is not known, only how many.
        dropped = min(max(dropped, 0), count)
        missing = count - dropped
        cause = LossCause.DAMAGED if detail else LossCause.WIRE
        lost = [LostFrames(self._next, missing, cause, detail)] if missing else []
        if dropped:
            lost.append(LostFrames(self._next + missing, dropped, LossCause.CONSOLE_FIFO))
        self._next = sequence
        return lost
