"""Recordings: the raw spectra of one specimen, kept whole in a folder. See docs/recordings.md."""

from octmargin.archive.from_source import SpectraSource, write_recording
from octmargin.archive.logbook import Logbook
from octmargin.archive.metadata import FORMAT, VERSION
from octmargin.archive.recording import Recording
from octmargin.archive.writing import (
    RecordingWriter,
    UnplannedFrameError,
    check_is_new,
    finish_recording,
)

__all__ = [
    "FORMAT",
    "VERSION",
    "Logbook",
    "Recording",
    "RecordingWriter",
    "SpectraSource",
    "UnplannedFrameError",
    "check_is_new",
    "finish_recording",
    "write_recording",
]
