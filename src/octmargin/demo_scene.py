"""What the demonstration stages unless another specimen is asked for: something to find, and something that goes wrong.

One lumpectomy with a tumour that reaches the surface of one face, all others sound. One face is scanned with too much
light, so that most of it is poor; on another the console drops frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

SEED = 5
"""A specimen whose tumour reaches the surface."""
TUMOUR, POOR, DROPOUT = "medial", "posterior", "lateral"
_SOUND = {"lesion": "none", "benign": "none", "artefacts": []}
_POOR_SHARE = (0.15, 0.75)
"""Of the frames of the face, from and to."""
_DROPPED_SHARE = 0.4
"""Where in the face frames are dropped."""
_DROPPED_FRAMES = 2


def scene(faces: tuple[str, ...]) -> dict[str, Any]:
    """What each face carries, as `octmargin simulate --scene` reads it."""
    return {face: {**_SOUND, "lesion": "invasive" if face == TUMOUR else "none"} for face in faces}


def faults(frames: int) -> dict[str, Any]:
    """What goes wrong in each sweep over a face, as `octmargin simulate --faults` reads it."""
    first, last = (round(share * frames) for share in _POOR_SHARE)
    dropped = round(_DROPPED_SHARE * frames)
    return {
        "fault": [
            {"kind": "saturated", "faces": [POOR], "frames": list(range(first, last))},
            {"kind": "drop", "faces": [DROPOUT], "frames": list(range(dropped, dropped + _DROPPED_FRAMES))},
        ]
    }


def write(folder: Path, faces: tuple[str, ...], frames: int) -> list[str]:
    """Write both into `folder`; gives the options of `octmargin simulate`."""
    options = []
    for name, content in (("scene", scene(faces)), ("faults", faults(frames))):
        path = folder / f"{name}.toml"
        path.write_bytes(msgspec.toml.encode(content))
        options += [f"--{name}", str(path)]
    return options
