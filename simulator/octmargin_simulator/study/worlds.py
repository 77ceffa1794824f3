"""Worlds: named changes of the simulated tissue and console, one TOML file each in `worlds/`.

A world scales or shifts ranges of the priors, so that a seed draws the same specimen in every world but for what the
world changes: results are paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from octmargin.errors import ConfigError
from octmargin_simulator.optics import ConsoleOptics
from octmargin_simulator.tissue.priors import TissuePriors, default

REFERENCE = "reference"
FOLDER = Path(__file__).with_name("worlds")


class World(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Changes of the reference. `scale` and `add` name priors by dotted path, `*` for every table of that level.

    `source_width` and `aline_spacing` are relative; the scanned field stays as wide: the same tissue lies in it.
    """

    title: str
    scale: dict[str, float] = {}
    add: dict[str, float] = {}
    source_width: float = 1.0
    aline_spacing: float = 1.0

    @property
    def changes(self) -> int:
        """How many things it changes."""
        return len(self.scale) + len(self.add) + (self.aline_spacing != 1.0)

    def priors(self) -> TissuePriors:
        """The default priors as this world has them. Raises ConfigError for a path that leads to no prior."""
        table: dict[str, Any] = msgspec.to_builtins(default())
        for path, factor in self.scale.items():
            _change(table, path, factor=factor)
        for path, step in self.add.items():
            _change(table, path, step=step)
        try:
            return msgspec.convert(table, TissuePriors)
        except msgspec.ValidationError as error:
            raise ConfigError(f"world {self.title!r}: {error}; see its file") from error

    def console(self, drawn: ConsoleOptics) -> ConsoleOptics:
        """The specimen's console as this world has it."""
        return replace(drawn, source_width=drawn.source_width * self.source_width)


def world_names() -> tuple[str, ...]:
    """The worlds that come with the simulator, without the reference; those that change most come last."""
    names = sorted(path.stem for path in FOLDER.glob("*.toml"))
    return tuple(sorted(names, key=lambda name: load_world(name).changes))


def load_world(name: str) -> World:
    """Read a world; the reference changes nothing. Raises ConfigError for one that does not exist or fit."""
    if name == REFERENCE:
        return World(title="reference")
    path = FOLDER / f"{name}.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=World)
    except OSError as error:
        raise ConfigError(
            f"world {name!r} does not exist; give one of {', '.join((REFERENCE, *world_names()))}"
        ) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path.name}: {error}; see the other worlds") from error


def _change(table: dict[str, Any], path: str, *, factor: float = 1.0, step: float = 0.0) -> None:
    *above, last = path.split(".")
    tables = list(_tables(table, above))
    if not tables or any(last not in t or isinstance(t[last], dict) for t in tables):
        raise ConfigError(f"world: {path!r} is no prior; see tissue/priors.toml")
    for holder in tables:
        value = holder[last]
        many = value if isinstance(value, (list, tuple)) else (value,)
        changed = tuple(factor * number + step for number in many)
        holder[last] = changed if many is value else changed[0]


def _tables(table: dict[str, Any], above: list[str]) -> Iterator[dict[str, Any]]:
    if not above:
        yield table
        return
    first, *rest = above
    for name, value in table.items():
        if first in {"*", name} and isinstance(value, dict):
            yield from _tables(value, rest)
