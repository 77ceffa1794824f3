"""Structured logs on standard error: lines for people, or JSON for machines.

Each entry has the ids of what is on stage (`case`, `specimen`, `face`, `sweep`), whichever thread or task logs it: one
daemon has one console, and that has one stage.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from octmargin.errors import ConfigError

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_stage: dict[str, str | int] = {}


def on_stage(**ids: str | int | None) -> None:
    """Change what is on stage: entries from now on have these ids; None takes one away."""
    for name, value in ids.items():
        if value is None:
            _stage.pop(name, None)
        else:
            _stage[name] = value


def _add_stage(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    for name, value in _stage.items():
        entry.setdefault(name, value)
    return entry


def configure_logging(*, level: str, as_json: bool) -> None:
    """Set up structlog for the process; ConfigError for an unknown level."""
    if level not in _LEVELS:
        raise ConfigError(f'log level "{level}" is unknown; use one of {", ".join(_LEVELS)}')
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_stage,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
