"""Structured logs on standard error: lines for people, or JSON for machines.

Each entry has the ids of what is on stage (`case`, `specimen`, `face`, `sweep`), whichever thread or task logs it: one
daemon has one console, and that has one stage.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor, ProcessorReturnValue, WrappedLogger

from octmargin.errors import ConfigError

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_CHATTY = ("mqtt",)
"""Libraries whose warnings are of what is usual here: aiomqtt's of many calls under way, which health counts."""


class _Stage:
    """The ids of what is on stage. They are replaced whole, for other threads read them while they log."""

    def __init__(self) -> None:
        self._ids: Mapping[str, str | int] = {}

    def change(self, ids: Mapping[str, str | int | None]) -> None:
        changed = {**self._ids, **ids}
        self._ids = {name: value for name, value in changed.items() if value is not None}

    def add_to(self, _: WrappedLogger, __: str, entry: EventDict) -> EventDict:
        return {**self._ids, **entry}


_stage = _Stage()


def on_stage(**ids: str | int | None) -> None:
    """Change what is on stage: entries from now on have these ids; None takes one away. From the event loop alone."""
    _stage.change(ids)


class _FromLibraries(logging.Handler):
    """What libraries log becomes an entry like ours: one line, also of an exception."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        details = {} if error is None else {"error": f"{type(error).__name__}: {_told(error, str)}"}
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - the library's mistake must not end its thread
            text = f"{_told(record.msg, str)} {_told(record.args)}"
        # structlog knows no levels but these.
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().log(level, " ".join(text.split()), library=record.name, **details)


def _whatever_happens(renderer: Processor) -> Processor:
    """The renderer; what it cannot show, it gets as text: who logs must never fail for that."""

    def render(logger: WrappedLogger, name: str, entry: EventDict) -> ProcessorReturnValue:
        try:
            return _told(renderer(logger, name, dict(entry)), str)
        except Exception:  # noqa: BLE001 - any object may be in it
            shown = {_told(key, str): _as_text(value) for key, value in entry.items()}
            return renderer(logger, name, shown)

    return render


def _as_text(value: object) -> object:
    if value is None or type(value) in (bool, int, float):
        return value
    return _told(value, str if type(value) is str else repr)


def _told(value: object, how: Callable[[object], str] = repr) -> str:
    """In words that can be written, whatever it is."""
    try:
        text = how(value)
    except Exception:  # noqa: BLE001 - so may its own methods be
        text = f"<{type(value).__name__} that cannot be shown>"
    return text.encode("utf-8", "backslashreplace").decode()


def _to_json(entry: EventDict, **_: object) -> str:
    # Not json.dumps: its NaN is no JSON.
    return msgspec.json.encode(entry, enc_hook=_plain).decode()


def _plain(value: object) -> object:
    """Numbers of numpy, and whatever else JSON does not know."""
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else repr(value)


def configure_logging(*, level: str, as_json: bool) -> None:
    """Set up the log of the process, also for what its libraries say; ConfigError for an unknown level."""
    if level not in _LEVELS:
        raise ConfigError(f'log level "{level}" is unknown; use one of {", ".join(_LEVELS)}')
    renderer: Any = (
        structlog.processors.JSONRenderer(_to_json)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stage.add_to,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _whatever_happens(renderer),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _FromLibraries) for handler in root.handlers):
        root.addHandler(_FromLibraries())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
