"""Structured logs on standard error: lines for people, or JSON for machines."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from octmargin.errors import ConfigError

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


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
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
