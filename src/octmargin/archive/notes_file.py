"""Notes about a specimen for which no recording came: a log by itself, in the chain of hashes of a recording's log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from octmargin.archive.logbook import Logbook

Note = tuple[str, Any]
"""Its kind, and what is noted: a mapping, or anything that msgspec writes as one."""


def keep_notes(folder: Path, case_id: str, specimen_id: str, notes: Sequence[Note]) -> Path:
    """Write `notes` into a new file in `folder`; gives its path. Blocks; OSError where the disk does not take them."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    name = "-".join(part for part in (case_id, specimen_id, stamp) if part)
    path = folder / f"{name}.notes.jsonl"
    logbook = Logbook(path)
    logbook.note("began", {"case_id": case_id, "specimen_id": specimen_id})
    for kind, content in notes:
        logbook.note(kind, content)
    logbook.close()
    if logbook.failure:
        raise OSError(f"{path}: {logbook.failure}")
    return path
