"""Scenes: what the faces of a simulated specimen are made to carry, as a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from octmargin.errors import ConfigError
from octmargin_simulator.tissue.specimen import Scenario

_Artefact = Literal["cautery", "ink", "blood", "fluid", "bubbles", "air_gap", "debris", "glare"]


class _Face(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file, named as the face; what is left out, the seed decides."""

    lesion: Literal["none", "invasive", "dcis", "metastasis"] | None = None
    benign: Literal["none", "cyst", "fibroadenoma", "cavity"] | None = None
    artefacts: tuple[_Artefact, ...] | None = None


def read_scene(path: Path) -> dict[str, Scenario]:
    """Read a scene; ConfigError names the file, what is wrong and what to do."""
    try:
        faces = msgspec.toml.decode(path.read_bytes(), type=dict[str, _Face])
    except OSError as error:
        raise ConfigError(f"scene {path}: {error.strerror}; check the path") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"scene {path}: {error}; docs/tissue.md lists what a scene may say") from error
    return {name: Scenario(face.lesion, face.benign, face.artefacts) for name, face in faces.items()}
