"""Keeping recordings: what there is in a folder, whether it is sound, finishing what was cut short, letting go."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from octmargin.archive.logged_frames import logged_frames
from octmargin.archive.recording import Recording, looks_like_recording
from octmargin.archive.writing import spectra_hash
from octmargin.errors import InputError

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Holding:
    """One recording of a folder, or what looks like one and cannot be opened (`trouble` says why)."""

    path: Path
    size_bytes: int
    modified_s: float
    """Unix time of the newest change."""
    complete: bool = False
    synthetic: bool = True
    name: str = ""
    faces: tuple[str, ...] = ()
    planned: int = 0
    present: int = 0
    """Frames that are on disk."""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Soundness:
    """What `verify` found: frames that are sound, lost, and, as "face frame", damaged or missing though they came.

    `changed`: frames that can be read and are not those that were written, by the hashes in the log. `log` says in
    words what is wrong with the log itself; empty where nothing is. `unhashed` frames are in no log.
    """

    sound: int
    lost: int
    damaged: tuple[str, ...]
    changed: tuple[str, ...] = ()
    unhashed: int = 0
    log: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether everything is as it was written."""
        return not (self.damaged or self.changed or self.log)


def holdings(folder: Path) -> list[Holding]:
    """Recordings in `folder`, or what is left of them, oldest first; InputError where it is no folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one with the recordings")
    found = [_holding(path) for path in folder.iterdir() if looks_like_recording(path)]
    return sorted(found, key=lambda holding: (holding.modified_s, holding.path))


def verify(recording: Recording) -> Soundness:
    """Read every frame: each chunk has a checksum, and the log the hash of its counts."""
    sound = lost = unhashed = 0
    damaged, changed = [], []
    log_trouble = recording.log_trouble()
    try:
        hashes = {place: frame.sha256 for place, frame in logged_frames(recording).items()}
    except InputError as error:
        hashes, log_trouble = {}, log_trouble or str(error)
    for face in recording.faces:
        for index in range(recording.plan(face).frames):
            known = hashes.pop((face, index), None)
            try:
                frame = recording.frame(face, index)
            except InputError:
                damaged.append(f"{face} {index}")
                continue
            if frame is None and (known is not None or recording.present(face)[index]):
                damaged.append(f"{face} {index} (missing)")
                continue
            if frame is None:
                lost += 1
                continue
            unhashed += known is None
            if known is not None and known != spectra_hash(frame):
                changed.append(f"{face} {index}")
            else:
                sound += 1
    damaged += [f"{face} {index} (missing)" for face, index in hashes]
    return Soundness(sound, lost, tuple(damaged), tuple(changed), unhashed, log_trouble)


def to_prune(
    kept: list[Holding],
    *,
    now_s: float,
    older_than_days: float | None,
    over_gb: float | None,
    cut_short: bool = False,
) -> list[Holding]:
    """Which of the recordings, oldest first, a policy lets go: those too old, then the oldest of what is too much.

    Never what cannot be opened: it may be somebody else's. Recordings that are not complete only with `cut_short`: a
    daemon may still be writing them.
    """
    gone = []
    left_bytes = sum(holding.size_bytes for holding in kept)
    for holding in kept:
        if holding.trouble or not (holding.complete or cut_short):
            continue
        is_old = older_than_days is not None and now_s - holding.modified_s > older_than_days * 86_400
        is_too_much = over_gb is not None and left_bytes > over_gb * GIGABYTE
        if is_old or is_too_much:
            gone.append(holding)
            left_bytes -= holding.size_bytes
    return gone


def remove(holding: Holding) -> None:
    """Delete a recording; InputError where that fails half-way."""
    try:
        shutil.rmtree(holding.path)
    except OSError as error:
        raise InputError(
            f"{holding.path}: cannot be deleted ({error.strerror}); check its permissions"
        ) from error


def now_s() -> float:
    """Unix time."""
    return time.time()


def _holding(path: Path) -> Holding:
    sizes = list(_files(path))
    size = sum(bytes_ for bytes_, _ in sizes)
    modified_s = max((when for _, when in sizes), default=path.stat().st_mtime)
    try:
        recording = Recording.open(path)
    except InputError as error:
        return Holding(path, size, modified_s, trouble=str(error))
    return Holding(
        path,
        size,
        modified_s,
        complete=recording.complete,
        synthetic=recording.synthetic,
        name=recording.name,
        faces=recording.faces,
        planned=sum(recording.plan(face).frames for face in recording.faces),
        present=sum(int(recording.on_disk(face).sum()) for face in recording.faces),
    )


def _files(path: Path) -> Iterator[tuple[int, float]]:
    for file in path.rglob("*"):
        if file.is_file():
            stat = file.stat()
            yield stat.st_size, stat.st_mtime
