"""`octmargin display`: the OR display of a console whose daemon runs elsewhere."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer

from octmargin.bus import Topics
from octmargin.config import DisplayConfig, load_display_config
from octmargin.display import make_site, serving_display
from octmargin.errors import OctMarginError
from octmargin.log import configure_logging

log = structlog.get_logger()


def display(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="A file (TOML) with site, console, [broker], [display] and [orientation]."
        ),
    ],
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_json: Annotated[bool, typer.Option(help="Log as JSON lines.")] = False,
) -> None:
    """Serve the OR display of a console until Ctrl-C."""
    settings = load_display_config(config)
    configure_logging(level=log_level, as_json=log_json)
    asyncio.run(_serve(settings))


async def _serve(config: DisplayConfig) -> None:
    stop = asyncio.Event()
    faults: list[str] = []

    def fault(text: str) -> None:
        faults.append(text)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    site = make_site(
        Topics(config.site, config.console),
        config.display,
        config.broker,
        ink=config.orientation.ink,
        sutures=config.orientation.sutures,
    )
    async with serving_display(config.display, site, config.broker, on_fault=fault) as served:
        log.info("display served", url=served.url)
        await stop.wait()
    if faults:
        raise OctMarginError(faults[0])
