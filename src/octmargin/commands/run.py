"""`octmargin run`: the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from octmargin.config import load_config
from octmargin.daemon import Daemon
from octmargin.log import configure_logging


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file (TOML).")],
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_json: Annotated[bool, typer.Option(help="Log as JSON lines.")] = False,
) -> None:
    """Acquire, judge and publish until every pass is done, or Ctrl-C."""
    settings = load_config(config)
    configure_logging(level=log_level, as_json=log_json)
    asyncio.run(Daemon(settings).run())
