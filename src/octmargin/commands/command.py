"""`octmargin command`: tells a running daemon what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from octmargin.bus import Topics
from octmargin.bus.orders import ORDERS
from octmargin.command_sender import sender_of
from octmargin.commanding import arguments_of, give
from octmargin.config import load_display_config
from octmargin.errors import EXIT_REFUSED, ConfigError


def command(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(ORDERS)}.", metavar="NAME")],
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The daemon's configuration, or a display's (TOML).")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Arguments of the command, such as face=superior.", metavar="KEY=VALUE"),
    ] = None,
    user: Annotated[str, typer.Option(help="In whose name; the user of broker.username unless given.")] = "",
    role: Annotated[str, typer.Option(help="operator or reader; that of broker.username unless given.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the reply as JSON.")] = False,
) -> None:
    """Tell a running daemon what to do, and print its reply. Exit code 0 done, 3 refused, 2 no answer."""
    settings = load_display_config(config)
    sender = sender_of(settings.broker.username, site=settings.site, user=user, role=role)
    asked = arguments_of(name, dict(_pair(word) for word in arguments or ()))
    # The daemon's own connection must stay: a client id belongs to one.
    broker = msgspec.structs.replace(settings.broker, client_id="")
    reply = asyncio.run(give(broker, Topics(settings.site, settings.console), sender, name, asked))
    if as_json:
        typer.echo(msgspec.json.encode(reply).decode())
    else:
        typer.echo(f"{reply.outcome}: {reply.reason}" if reply.reason else reply.outcome)
    if reply.outcome == "refused":
        raise typer.Exit(EXIT_REFUSED)


def _pair(word: str) -> tuple[str, str]:
    key, sign, value = word.partition("=")
    if not (key and sign):
        raise ConfigError(f"argument {word!r}: give it as KEY=VALUE, such as face=superior")
    return key, value
