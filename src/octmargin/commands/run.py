"""`octmargin run`: the daemon."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Annotated

import typer

from octmargin.config import Config, load_config
from octmargin.daemon import Daemon
from octmargin.device import on_loop
from octmargin.log import configure_logging
from octmargin.startup import check_named


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file (TOML).")],
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_json: Annotated[bool, typer.Option(help="Log as JSON lines.")] = False,
    stop_on_eof: Annotated[
        bool, typer.Option(hidden=True, help="Stop when standard input is closed.")
    ] = False,
) -> None:
    """Acquire, judge and publish until every pass is done, or Ctrl-C."""
    settings = load_config(config)
    check_named(settings)
    configure_logging(level=log_level, as_json=log_json)
    # Modules stay: a full garbage collection that looked at them all would hold up flags for some 30 ms, on a busy
    # machine for several times that.
    gc.freeze()
    asyncio.run(_run(settings, stop_on_eof=stop_on_eof))


async def _run(settings: Config, *, stop_on_eof: bool) -> None:
    daemon = Daemon(settings)
    if stop_on_eof:
        # Whoever started this process may die without a word; then its end of the pipe closes.
        loop = asyncio.get_running_loop()

        def wait_for_eof() -> None:
            # Not sys.stdin: a thread that waits in it at exit holds a lock that the interpreter wants.
            while os.read(0, 4096):
                pass
            on_loop(loop, daemon.stop)

        threading.Thread(target=wait_for_eof, daemon=True).start()
    await daemon.run()
