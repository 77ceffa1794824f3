"""What the log of a recording says of the frames that were put on disk."""

from __future__ import annotations

import msgspec

from octmargin.archive.recording import Recording
from octmargin.errors import InputError


class LoggedFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that was written: its place, the hash of its counts, and its number where a console gave it one."""

    face: str
    index: int
    sha256: str
    sweep: int | None = None
    sequence: int | None = None


class _Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    face: str


def logged_frames(recording: Recording) -> dict[tuple[str, int], LoggedFrame]:
    """The frames that were written and not taken away again, by face and index.

    InputError where the log cannot be read or has an entry that no octmargin wrote.
    """
    frames: dict[tuple[str, int], LoggedFrame] = {}
    for entry in recording.log():
        try:
            if entry.get("kind") == "frame":
                frame = msgspec.convert(entry, LoggedFrame)
                frames[frame.face, frame.index] = frame
            elif entry.get("kind") == "forgotten":
                face = msgspec.convert(entry, _Forgotten).face
                frames = {place: frame for place, frame in frames.items() if place[0] != face}
        except msgspec.ValidationError as error:
            raise InputError(
                f"the log was changed: entry {entry['n']} is none that octmargin writes ({error})"
            ) from error
    return frames
