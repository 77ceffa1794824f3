"""Paths of the configuration, taken out of what is said on the bus: files and folders may be named after a patient."""

from __future__ import annotations

import re
from pathlib import Path

from octmargin.config import Config

_BEFORE, _AFTER = r"(?<![\w./-])", r"(?![\w-]|\.\w)"
"""A place is a whole path: "rec" is none in "recorder"."""


class Places:
    """What the configuration calls its paths. The log, which stays on the machine, has them as they are."""

    def __init__(self, config: Config) -> None:
        named = {
            "device.address": _file_of(config.device.address),
            "calibration.file": config.calibration.file,
            "broker.outbox_file": config.broker.outbox_file,
            "case.decisions_file": config.case.decisions_file,
            "recording.folder": config.recording.folder if config.recording else None,
            "record.file": config.record.file if config.record else None,
            "record.coding_site": config.record.coding_site if config.record else None,
            "pictures.folder": config.pictures.folder if config.pictures else None,
            "display.photo_folder": config.display.photo_folder if config.display else None,
        }
        forms = {
            form: f"[{key}]"
            for key, path in named.items()
            if path
            for form in (path, str(Path(path)), str(Path(path).absolute()), str(Path(path).resolve()))
        }
        # "." and "/" are in every text, and no names.
        self._names = {form: key for form, key in forms.items() if form.strip("./")}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(f"{_BEFORE}({'|'.join(map(re.escape, longest_first))}){_AFTER}")

    def without(self, text: str) -> str:
        """The text, with the key of the configuration in square brackets in place of each path."""
        return self._pattern.sub(lambda found: self._names[found[1]], text) if self._names else text


def _file_of(address: str) -> str | None:
    """The file that a device's address names, with its options; a port is none."""
    path, _, _ = address.partition("?")
    return path if Path(path).is_file() or Path(path).is_dir() else None
