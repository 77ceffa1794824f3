"""Personalities: who a simulated console is, and how quick, careful and roomy, as TOML files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from octmargin.errors import ConfigError

Text = Annotated[str, Meta(min_length=1, max_length=63)]
_FILES = "personalities"
MAX_FIFO_FRAMES = 4096


class Personality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One console. Left alone, it is as quick and as roomy as consoles of its kind are."""

    maker: Text = "octmargin"
    model: Text = "Simulated OCT console"
    serial: Text = "SIM-0001"
    firmware: Text = "1.0.0"
    protocol_minor: Annotated[int, Meta(ge=0, le=0xFFFF)] = 2
    """Of protocol version 1: a host may know less than the console, or more."""
    max_line_rate_hz: Annotated[float, Meta(gt=0, le=4e6)] = 250_000.0
    fifo_frames: Annotated[int, Meta(ge=1, le=MAX_FIFO_FRAMES)] = 16
    """Frames that it holds while the host does not fetch."""
    answer_s: Annotated[float, Meta(ge=0, le=5)] = 0.0
    """What it takes to answer any command."""
    says_pending: bool = True
    """Whether it says so with PENDING_ACK where an answer takes longer than `max_response_ms`."""
    max_response_ms: Annotated[int, Meta(ge=1, le=60_000)] = 100
    heartbeat_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 3000
    counts_drops: bool = True
    """Whether it counts the frames that it drops; an old one leaves a gap in its numbers, and that is all."""


def names() -> list[str]:
    """Personalities that come with the simulator."""
    folder = resources.files(__package__) / _FILES
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def read_personality(which: str) -> Personality:
    """Read one by its name, or from a TOML file; ConfigError says what is wrong and what there is."""
    path = Path(which)
    if which in names():
        content = (resources.files(__package__) / _FILES / f"{which}.toml").read_bytes()
    elif path.suffix != ".toml":
        raise ConfigError(f"personality {which!r}: there is none; use {', '.join(names())}, or a .toml file")
    else:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"personality {which}: {error.strerror}; check the path") from error
    try:
        return msgspec.toml.decode(content, type=Personality)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"personality {which}: {error}; docs/faults.md lists what a personality may say"
        ) from error
